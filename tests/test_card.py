import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_report_page import SCORED, everything

from hsd.errors import EvaluationError
from hsd.report.card import card as as_markdown
from hsd.report.predictions import append_predictions
from hsd.report.tables import write_evaluation
from hsd.runs import write_json
from jobs.card import card

MANIFEST = {
    "config": {"model": {"name": "tiny-base"}, "lora": {"rank": 8, "alpha": 16}},
    "base": {"name": "tiny-base", "revision": "abc"},
    "data": {"train": {"rows": 18, "sha256": "0123456789abcdef"}, "prompt_hash": "fedcba987654321"},
    "learned_from": {"file": "somewhere/train.jsonl"},
    "result": {"exported_step": 20},
}


@pytest.fixture
def run() -> Path:
    folder = Path("adapter/eval/run_20260102_030405")
    write_json(Path("adapter/manifest.json"), MANIFEST)
    append_predictions(folder / "predictions.jsonl", SCORED)
    provenance = {"model": {"adapter": "adapter"}, "data": {"data_file": "unified"}}
    write_evaluation(folder, SCORED, provenance, "20260102_030405", everything(SCORED))
    return folder


@pytest.mark.usefixtures("run")
def test_golden_model_card(golden: Callable[[str, str], None]) -> None:
    CliRunner().invoke(card, ["adapter", "adapter/eval"], catch_exceptions=False)
    golden("model_card.md", Path("adapter/README.md").read_text(encoding="utf-8"))


def test_the_card_of_another_adapter_is_refused(run: Path) -> None:
    write_json(Path("other/manifest.json"), MANIFEST)
    with pytest.raises(EvaluationError, match="judged adapter, not other"):
        CliRunner().invoke(card, ["other", str(run)], catch_exceptions=False)


def test_posts_are_called_held_out_only_where_that_is_known(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    said = {seen: as_markdown({}, {**report, "seen_in_training": seen}, "a") for seen in (0, None)}
    assert "48 held-out posts;" in said[0]
    assert "held-out" not in said[None]
    assert "48 posts (whether the adapter was trained on any of them is not known);" in said[None]
    some = as_markdown({}, {**report, "seen_in_training": 3}, "a")
    assert "48 posts, 3 of which the adapter was trained on;" in some


def test_no_card_is_written_from_posts_that_the_adapter_learned(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    write_json(run / "report.json", {**report, "seen_in_training": 3})
    with pytest.raises(EvaluationError, match="3 of its 48 posts are among those that adapter was"):
        CliRunner().invoke(card, ["adapter", "adapter/eval"], catch_exceptions=False)
    assert not Path("adapter/README.md").exists()


def test_group_names_cannot_end_a_cell(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    report["groups"]["a|b<script>"] = report["groups"].pop("lgbtq")
    write_json(run / "report.json", report)
    CliRunner().invoke(card, ["adapter", "adapter/eval"], catch_exceptions=False)
    assert "a\\|b&lt;script>" in Path("adapter/README.md").read_text()
