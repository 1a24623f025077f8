"""report.json is one typed model: its keys and values stay, its schema follows, damage is said."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from present import present
from test_report_page import SCORED, STAMP, everything

from hsd.errors import EvaluationError
from hsd.report.comparability import RunSettings
from hsd.report.evaluation_files import write_evaluation
from hsd.report.report_file import read_report
from hsd.report.report_model import EvaluationReport, report_schema

SCHEMA_FILE = Path(__file__).parent.parent / "hsd" / "report" / "report.schema.json"
STORED = Path(__file__).parent / "golden" / "report.json"
PROVENANCE = {"model": {"name": "tiny"}, "mode": "score", "temperature": 0.0}


@cache
def stored() -> str:
    return STORED.read_text(encoding="utf-8")


def written(folder: Path) -> Any:
    beside = replace(everything(SCORED), base_asked=RunSettings("0123456789abcdef", "score"))
    write_evaluation(folder, SCORED, PROVENANCE, STAMP, beside)
    return json.loads((folder / "report.json").read_text())


def rounded(value: Any) -> Any:
    """Sums of floats differ in their last bit between CPUs."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def test_report_json_keeps_its_keys_and_values(
    golden: Callable[[str, str], None], tmp_path: Path
) -> None:
    golden("report.json", json.dumps(rounded(written(tmp_path))) + "\n")


def test_reading_and_writing_a_report_changes_nothing() -> None:
    report = EvaluationReport.model_validate_json(stored(), strict=True)
    assert report.model_dump(mode="json", by_alias=True) == json.loads(stored())


def test_the_shipped_schema_is_the_models() -> None:
    if os.environ.get("HSD_ACCEPT_GOLDEN"):
        SCHEMA_FILE.write_text(report_schema(), encoding="utf-8")
    assert SCHEMA_FILE.read_text(encoding="utf-8") == report_schema()


def test_every_key_of_the_schema_is_described() -> None:
    schema = json.loads(report_schema())
    for name, part in {"report": schema, **schema["$defs"]}.items():
        assert part.get("description") or part.get("enum"), name
        for key, field in part.get("properties", {}).items():
            # A field that says the same as its section has the section's words alone.
            assert field.get("description") or "$ref" in field, f"{name}.{key}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_in_no_report(value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        EvaluationReport.model_validate({**json.loads(stored()), "mean_response_time_s": value})


def damaged(change: Callable[[dict[str, Any]], Any], folder: Path) -> str:
    """Return what is said of a report after a change, which is one line."""
    report = json.loads(stored())
    change(report)
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(EvaluationError) as caught:
        read_report(folder)
    said = str(caught.value)
    assert said.startswith(f"{folder / 'report.json'}: ")
    assert said.endswith(f"write it anew with `hsd report {folder}`.")
    assert "\n" not in said
    assert "pydantic" not in said
    return said


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(stored())
    assert read_report(tmp_path).headline.n == len(SCORED)


@pytest.mark.parametrize(("version", "shown"), [(1, "1"), (2, "2"), (4, "4"), (None, "null")])
def test_a_report_of_another_version_is_refused_with_what_to_do(
    version: int | None, shown: str, tmp_path: Path
) -> None:
    said = damaged(lambda report: report.update(schema=version), tmp_path)
    assert f"schema {shown}, and this version of hsd reads schema 3" in said


def test_a_missing_key_is_named_with_its_place(tmp_path: Path) -> None:
    said = damaged(lambda report: report["baselines"][1]["metrics"].pop("auprc"), tmp_path)
    assert "baselines.1.metrics.auprc is missing" in said


def test_an_unknown_key_is_named_with_its_place(tmp_path: Path) -> None:
    assert "unknown key gaps.new" in damaged(lambda r: r["gaps"].update(new=1), tmp_path)


@pytest.mark.parametrize("value", ["half", [0.5], True, [0.1, float("nan")], {"low": 0.1}])
def test_a_wrong_value_is_shown_with_its_place(value: Any, tmp_path: Path) -> None:
    said = damaged(lambda report: report["intervals"].update(f1=value), tmp_path)
    assert f"intervals.f1: {json.dumps(value)} is not accepted" in said
    said = damaged(lambda report: report["headline"].update(f1=value), tmp_path)
    assert "headline.f1" in said


def test_several_faults_are_counted(tmp_path: Path) -> None:
    said = damaged(lambda report: [report.pop("gaps"), report.pop("groups")], tmp_path)
    assert "(and 1 more)" in said


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    assert len(damaged(lambda report: report.update(strategy=["x" * 9_000]), tmp_path)) < 600


def test_a_base_without_settings_is_read(tmp_path: Path) -> None:
    """A report from before they were written has none."""
    report = json.loads(stored())
    del report["base"]["asked"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert present(read_report(tmp_path).base).asked.prompt is None
