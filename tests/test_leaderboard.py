"""A sweep's cells side by side: those that are done by their numbers, the others by a reason."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from posts import predictions
from present import present

from hsd.errors import EvaluationError, PreflightError
from hsd.io.files import write_json
from hsd.metrics.leaderboard import Entry, leaderboard
from hsd.metrics.rule_result import Status
from hsd.report.comparison_glance import leaderboard_badge
from hsd.report.leaderboard_rows import ranking_rows
from hsd.report.markdown import markdown_cell, markdown_table
from hsd.report.predictions import append_predictions
from jobs.compare import compare
from slurm.node.events import record
from slurm.run.run_folder import RunFolder
from slurm.watch.sweep_leaderboard import SetBoard, sweep_leaderboard, write_leaderboard

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


def on(folder: RunFolder, data_file: str = "embedded", **asked: Any) -> SetBoard:
    return next(s for s in sweep_leaderboard(folder, **asked).sets if s.data_file == data_file)


def order(folder: RunFolder, **asked: Any) -> list[str]:
    return [one.name for one in on(folder, **asked).board.standings]


def test_golden_leaderboard(run: RunFolder, golden: Callable[[str, str], None]) -> None:
    done = CliRunner().invoke(compare, [str(run.path)], catch_exceptions=False)
    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    golden("leaderboard.txt", "\n".join(lines) + "\n")


def test_golden_leaderboard_page(run: RunFolder, golden: Callable[[str, str], None]) -> None:
    write_leaderboard(run.comparison_md, sweep_leaderboard(run))
    golden("leaderboard.md", run.comparison_md.read_text(encoding="utf-8"))
    numbers = json.loads(run.comparison.with_suffix(".json").read_text())
    found = numbers["sets"]["embedded"]
    failed = {one["name"]: one["reason"] for one in found["leaderboard"]["failures"]}
    assert failed == {"bad": "train failed: exit code 12", "late": "not evaluated yet"}
    assert sorted(one["other"] for one in found["comparisons"]) == ["good", "worse"]
    assert "train failed: exit code 12" in run.comparison_md.with_suffix(".html").read_text()


def test_the_best_come_first(run: RunFolder) -> None:
    assert order(run) == ["good", "worse", "baseline"]
    assert order(run, metric="recall")[0] == "worse"


def test_everything_is_compared_with_the_base_wherever_it_stands(run: RunFolder) -> None:
    compared = on(run).compared
    assert compared
    assert {one.reference for one in compared.comparisons} == {"baseline"}


def test_without_a_base_the_best_is_the_reference(run: RunFolder) -> None:
    run.done("baseline", "baseline").unlink()
    compared = on(run).compared
    assert compared
    assert [(one.reference, one.other) for one in compared.comparisons] == [("good", "worse")]


def test_a_gate_without_its_base_lets_nothing_pass(run: RunFolder) -> None:
    run.done("baseline", "baseline").unlink()
    record(run.attempts("baseline", "baseline"), "started", job="7_9")
    record(run.attempts("baseline", "baseline"), "ended", job="7_9", code=11)
    facts = run.facts()
    facts["sweep"]["gate"] = {}
    write_json(run.run_json, facts)
    verdicts = [one.verdict for one in on(run).board.standings]
    assert [present(v).status for v in verdicts] == [Status.UNDERPOWERED] * 2


def test_a_single_evaluation_is_compared_with_nothing(run: RunFolder) -> None:
    for cell, stage in (("baseline", "baseline"), ("worse", "evaluate")):
        run.done(cell, stage).unlink()
    assert on(run).compared is None
    assert [entry.name for entry in on(run).board.failures] == ["worse", "bad", "late"]
    write_leaderboard(run.comparison_md, sweep_leaderboard(run))
    assert run.comparison_md.with_suffix(".html").exists()


def test_a_second_base_is_a_base_and_a_cell_that_is_named_so_is_none(run: RunFolder) -> None:
    judged(run, "baseline-2", "baseline", GOOD)
    facts = run.facts()
    facts["cells"].append({"name": "baseline-like"})
    write_json(run.run_json, facts)
    judged(run, "baseline-like", "evaluate", WORSE)
    assert {"baseline-2", "baseline-like"} <= set(order(run))


def test_each_set_has_its_own_places_and_page(run: RunFolder) -> None:
    facts = run.facts()
    facts["sweep"]["evaluate"]["sets"].append("other")
    write_json(run.run_json, facts)
    for cell in ("baseline", "worse", "good"):
        stage = "baseline" if cell == "baseline" else "evaluate"
        judged(run, cell, stage, BASE if cell == "good" else GOOD, of="other")
    assert [one.name for one in on(run, "other").board.standings][-1] == "good"
    write_leaderboard(run.comparison_md, sweep_leaderboard(run))
    pages = {page.name for page in run.path.glob("*.html")}
    assert pages == {"comparison.html", "comparison-embedded.html", "comparison-other.html"}


def test_several_sets_are_in_one_table_with_a_blank_where_a_cell_failed(run: RunFolder) -> None:
    facts = run.facts()
    facts["sweep"]["evaluate"]["sets"].append("other")
    write_json(run.run_json, facts)
    for cell in ("baseline", "worse", "good"):
        stage = "baseline" if cell == "baseline" else "evaluate"
        judged(run, cell, stage, WORSE if cell == "good" else BASE, of="other")
    write_leaderboard(run.comparison_md, sweep_leaderboard(run))
    found = json.loads(run.comparison.with_suffix(".json").read_text())["by_set"]
    assert found["reference"] == "baseline"
    models = {one["name"]: one for one in found["models"]}
    assert list(models) == ["baseline", "worse", "good", "bad", "late"]
    assert models["bad"]["sets"] == {"embedded": None, "other": None}
    assert models["good"]["sets"]["embedded"]["f1"]["mark"] == "better"
    assert "mean over sets" in run.comparison_md.read_text()
    done = CliRunner().invoke(compare, [str(run.path)], catch_exceptions=False)
    assert "F1 by set" in done.stdout


def test_the_gate_of_the_sweep_judges_each_cell_but_the_base(run: RunFolder) -> None:
    facts = run.facts()
    facts["sweep"]["gate"] = {"unreadable": 1.0, "minimum_n": 5, "worst_group_f1": 0.99}
    write_json(run.run_json, facts)
    verdicts = {one.name: one.verdict for one in on(run).board.standings}
    assert verdicts["baseline"] is None
    assert present(verdicts["worse"]).status == Status.FAIL


def test_a_page_is_written_under_an_ending_that_is_known(run: RunFolder) -> None:
    with pytest.raises(EvaluationError, match=r"page.txt: a comparison is written as .html, .md"):
        write_leaderboard(Path("page.txt"), sweep_leaderboard(run))
    assert not list(Path().glob("page*"))


def test_the_run_of_a_single_job_has_no_leaderboard() -> None:
    folder = RunFolder(Path("runs/one"))
    write_json(folder.run_json, {"kind": "train", "cells": [{"name": "train"}]})
    with pytest.raises(PreflightError, match="runs/one: one train, not a sweep"):
        sweep_leaderboard(folder)


def test_a_table_of_a_page_has_numbers_on_the_right_and_cells_that_end_where_they_should() -> None:
    assert (
        markdown_table(("a", "b"), [("x|y", "1\n2")])
        == "| a | b |\n| --- | ---: |\n| x\\|y | 1 2 |"
    )
    assert markdown_cell("a | b") == "a \\| b"


def test_a_run_without_the_metric_is_neither_behind_the_best_nor_beside_it() -> None:
    scored = predictions(GOOD)
    labels = [replace(row, score=None) for row in scored]
    board = leaderboard([Entry("scored", scored), Entry("labels", labels)], "auroc", draws=50)
    assert [row[4] for row in ranking_rows(board)] == ["no", "-"]
    assert "behind it" not in " ".join(leaderboard_badge(board).reasons)
