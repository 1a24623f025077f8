"""A sweep's cells side by side: those that are done by their numbers, the others by a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from posts import predictions

from hsd.errors import ConfigError, EvaluationError, PreflightError
from hsd.report.markdown import markdown_cell, markdown_table
from hsd.report.predictions import append_predictions
from hsd.runs import write_json
from jobs.compare import compare
from slurm.attempts import record
from slurm.leaderboard import leaderboard, write_leaderboard
from slurm.run_folder import RunFolder

BASE = "\n".join(["lgbtq n n .2"] * 12 + ["mexican h n .4"] * 8 + ["mexican h refusal .3"] * 4)
GOOD = "\n".join(["lgbtq n n .1"] * 12 + ["mexican h h .9"] * 9 + ["mexican h n .4"] * 3)
WORSE = "\n".join(["lgbtq n h .6"] * 9 + ["lgbtq n n .1"] * 3 + ["mexican h h .9"] * 12)


def judged(folder: RunFolder, cell: str, stage: str, table: str, of: str = "embedded") -> None:
    run = folder.evaluate(cell, of) / "run_20260102_030405"
    append_predictions(run / "predictions.jsonl", predictions(table))
    write_json(run / "manifest.json", {"prompt": {"hash": "0123456789abcdef"}})
    write_json(folder.done(cell, stage), {"identity": "x", "at": "2026-01-02T03:04:05+00:00"})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a sweep of four cells: two are done, one has failed, one never began."""
    monkeypatch.setenv("COLUMNS", "110")
    folder = RunFolder(Path("runs/pair"))
    cells = [{"name": name} for name in ("worse", "good", "bad", "late")]
    sweep = {"evaluate": {"sets": ["embedded"]}}
    write_json(folder.run_json, {"kind": "sweep", "sweep": sweep, "cells": cells})
    judged(folder, "baseline", "baseline", BASE)
    judged(folder, "worse", "evaluate", WORSE)
    judged(folder, "good", "evaluate", GOOD)
    record(folder.attempts("bad", "train"), "started", job="7_2")
    record(folder.attempts("bad", "train"), "ended", job="7_2", code=12)
    return folder


def order(folder: RunFolder, sort: str = "macro_f1") -> list[str]:
    return [place.cell for place in leaderboard(folder, sort).places["embedded"]]


def test_golden_leaderboard(run: RunFolder, golden: Callable[[str, str], None]) -> None:
    done = CliRunner().invoke(compare, [str(run.path)], catch_exceptions=False)
    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    golden("leaderboard.txt", "\n".join(lines) + "\n")


def test_golden_leaderboard_page(run: RunFolder, golden: Callable[[str, str], None]) -> None:
    write_leaderboard(run.comparison_md, leaderboard(run))
    golden("leaderboard.md", run.comparison_md.read_text(encoding="utf-8"))
    numbers = json.loads(run.comparison_json.read_text())
    cells = {cell["cell"]: cell for cell in numbers["sets"]["embedded"]["cells"]}
    assert cells["bad"] == {"cell": "bad", "missing": "train failed: exit code 12"}
    assert cells["late"]["missing"] == "not evaluated yet"
    others = [one["other"] for one in numbers["sets"]["embedded"]["comparisons"]]
    assert sorted(others) == ["good", "worse"]


def test_the_best_come_first_and_those_without_a_number_last(run: RunFolder) -> None:
    assert order(run) == ["good", "worse", "baseline", "bad", "late"]
    assert order(run, "recall")[0] == "worse"
    with pytest.raises(ConfigError, match="--sort macro: no such metric. Did you mean 'macro_f1'"):
        leaderboard(run, "macro")


def test_everything_is_compared_with_the_base_wherever_it_stands(run: RunFolder) -> None:
    (compared,) = leaderboard(run).comparisons.values()
    assert {one.reference for one in compared.comparisons} == {"baseline"}


def test_without_a_base_the_best_is_the_reference(run: RunFolder) -> None:
    run.done("baseline", "baseline").unlink()
    (compared,) = leaderboard(run).comparisons.values()
    assert [(one.reference, one.other) for one in compared.comparisons] == [("good", "worse")]


def test_a_single_evaluation_is_compared_with_nothing(run: RunFolder) -> None:
    for cell, stage in (("baseline", "baseline"), ("worse", "evaluate")):
        run.done(cell, stage).unlink()
    board = leaderboard(run)
    assert board.comparisons == {}
    assert [place.cell for place in board.missing] == ["worse", "bad", "late"]


def test_a_second_base_is_a_base_and_a_cell_that_is_named_so_is_none(run: RunFolder) -> None:
    judged(run, "baseline-2", "baseline", GOOD)
    facts = run.facts()
    facts["cells"].append({"name": "baseline-like"})
    write_json(run.run_json, facts)
    judged(run, "baseline-like", "evaluate", WORSE)
    found = {place.cell: place.evaluation for place in leaderboard(run).places["embedded"]}
    assert found["baseline-2"]
    assert found["baseline-like"]


def test_each_set_has_its_own_places(run: RunFolder) -> None:
    facts = run.facts()
    facts["sweep"]["evaluate"]["sets"].append("other")
    write_json(run.run_json, facts)
    for cell in ("baseline", "worse", "good"):
        stage = "baseline" if cell == "baseline" else "evaluate"
        judged(run, cell, stage, BASE if cell == "good" else GOOD, of="other")
    board = leaderboard(run)
    assert [p.cell for p in board.places["other"]][:3] == ["baseline", "worse", "good"]
    assert set(board.comparisons) == {"embedded", "other"}


def test_a_page_is_written_under_an_ending_that_is_known(run: RunFolder) -> None:
    with pytest.raises(
        EvaluationError, match=r"page.html: a comparison is written as .md or .json"
    ):
        write_leaderboard(Path("page.html"), leaderboard(run))
    assert not list(Path().glob("page*"))


def test_the_run_of_a_single_job_has_no_leaderboard() -> None:
    folder = RunFolder(Path("runs/one"))
    write_json(folder.run_json, {"kind": "train", "cells": [{"name": "train"}]})
    with pytest.raises(PreflightError, match="runs/one: one train, not a sweep"):
        leaderboard(folder)


def test_a_table_of_a_page_has_numbers_on_the_right_and_cells_that_end_where_they_should() -> None:
    assert (
        markdown_table(("a", "b"), [("x|y", "1\n2")])
        == "| a | b |\n| --- | ---: |\n| x\\|y | 1 2 |"
    )
    assert markdown_cell("a | b") == "a \\| b"
