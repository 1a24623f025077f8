"""What failed, once more: with the code and configs of before, changed only where asked."""

from functools import partial
from pathlib import Path

import pytest
import sweeps

from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from slurm.node.events import record
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Submitted
from slurm.submit import resubmission
from slurm.submit.resubmission import resubmission as found_again
from slurm.submit.resubmission import with_time
from slurm.submit.work import Found, Work
from slurm.submit.write_run import write_run

CELLS = ("default", "high_capacity", "demo")
STAGES = ("train", "evaluate")


@pytest.fixture(autouse=True)
def _no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is known by its own files here."""
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def run(tmp_path: Path) -> Work:
    """Return a run: `default` is done, `high_capacity` has failed, `demo` never began.

    The base was evaluated. `demo` is of another base, which was not.
    """
    work = sweeps.work(tmp_path, sweeps.sweep(presets=CELLS))
    sweeps.write(work, tmp_path)
    for job, stage in enumerate(STAGES, start=7):
        one = Submitted(1, stage, stage, str(job), CELLS, "2026-01-01T00:00:00+00:00", 0, 60)
        submissions.append_submission(work.folder.path, one)
    finish(work, "default", *STAGES)
    finish(work, "baseline", "baseline")
    fail(work, "high_capacity", "7_1")
    return work


def finish(work: Work, cell: str, *stages: str) -> None:
    for stage in stages:
        marker = {"identity": work.hash_for(stage, cell), "at": "2026-02-01T00:00:00+00:00"}
        write_json(work.folder.done(cell, stage), marker)


def fail(work: Work, cell: str, job: str) -> None:
    events = work.folder.attempts(cell, "train")
    record(events, "started", job=job)
    record(events, "ended", job=job, code=12)


def live(work: Work, cell: str, job: str) -> None:
    record(work.folder.attempts(cell, "train"), "started", job=job)


def todo(found: Found) -> dict[str, list[str]]:
    return {s.name: [task.cell for task in s.tasks] for s in found.left.plan.stages}


def test_what_is_neither_done_nor_queued_is_submitted_again(run: Work) -> None:
    found = found_again(run.folder)
    assert found.left.new == ("high_capacity", "demo", "baseline-2")
    assert todo(found)["train"] == ["high_capacity", "demo"]
    assert found.left.done == ("default", "baseline")
    assert found.code is None
    assert found.work.code == run.code  # the copy that was queued
    assert not found.aside


def test_queued_code_that_was_changed_is_not_submitted_again(run: Work) -> None:
    (run.code / "hsd/one.py").write_text("answer = 43\n")
    with pytest.raises(PreflightError, match=r"copy of the code was changed.*--new-code"):
        write_run(found_again(run.folder))


def test_of_failed_cells_alone_when_asked(run: Work) -> None:
    assert found_again(run.folder, failed=True).left.new == ("high_capacity",)


def test_only_named_cells(run: Work) -> None:
    assert found_again(run.folder, only=("demo",)).left.new == ("demo",)
    assert found_again(run.folder, only=("default",)).left.new == ()
    with pytest.raises(PreflightError, match="--only dem: no such cell. Did you mean 'demo'"):
        found_again(run.folder, only=("dem",))


def test_a_change_is_of_what_is_submitted_and_of_nothing_that_is_done(run: Work) -> None:
    found = found_again(run.folder, overrides=("lora.rank=8",))
    assert found.left.new == ("high_capacity", "demo", "baseline-2")
    assert found.left.done == ("default", "baseline")
    ranks = {cell.name: cell.config.lora.rank for cell in found.work.cells}
    assert ranks["high_capacity"] == ranks["demo"] == 8
    assert ranks["default"] == run.cells[0].config.lora.rank
    assert found.aside == ("high_capacity", "demo")


def test_a_finished_cell_begins_anew_when_it_is_named_and_changed(run: Work) -> None:
    found = found_again(run.folder, only=("default",), overrides=("lora.rank=8",))
    assert found.left.new == ("default",)
    write_run(found)
    assert (run.folder.cell("default") / "before-1/train.done.json").exists()
    assert read_json(run.folder.config("default"))["lora"]["rank"] == 8


def test_the_same_change_again_keeps_what_was_done_with_it(run: Work) -> None:
    again = partial(found_again, run.folder, only=("default", "demo"), overrides=("lora.rank=8",))
    first = again()
    assert first.aside == ("default", "demo")
    write_run(first)
    finish(first.work, "default", *STAGES)
    second = again()
    assert (second.left.new, second.aside) == (("demo",), ("demo",))
    write_run(second)
    assert run.folder.done("default", "train").exists()
    assert found_again(run.folder, only=("default",)).left.done == ("default", "baseline")


def test_a_training_that_the_same_change_made_is_evaluated_where_it_is(run: Work) -> None:
    again = partial(found_again, run.folder, only=("default",), overrides=("lora.rank=8",))
    first = again()
    write_run(first)
    finish(first.work, "default", "train")
    second = again()
    assert todo(second)["evaluate"] == ["default"]
    assert "train" not in todo(second)
    assert not second.aside


def test_a_cell_in_the_queue_is_neither_changed_nor_touched(run: Work) -> None:
    live(run, "demo", "7_2")
    found = found_again(run.folder, overrides=("lora.rank=8",))
    assert found.left.active == ("demo",)
    assert found.left.new == ("high_capacity", "baseline-2")
    before = read_json(run.folder.config("demo"))
    write_run(found)
    assert read_json(run.folder.config("demo")) == before
    changes = {cell["name"]: cell["changes"] for cell in run.folder.facts()["cells"]}
    assert "lora.rank" in changes["high_capacity"]
    assert "lora.rank" not in changes["demo"]


def test_what_was_changed_is_what_it_was_submitted_as_from_then_on(run: Work) -> None:
    write_run(found_again(run.folder, only=("high_capacity",), overrides=("lora.rank=8",)))
    again = found_again(run.folder, only=("high_capacity",))
    assert again.left.new == ("high_capacity",)
    (cell,) = [c for c in again.work.cells if c.name == "high_capacity"]
    assert cell.config.lora.rank == 8


def test_a_path_in_a_change_is_one_of_here(run: Work, tmp_path: Path) -> None:
    Path("own.jsonl").write_text('{"id": "1", "text": "a", "label": "normal"}\n')
    found = found_again(run.folder, failed=True, overrides=("data.train_file=own.jsonl",))
    (cell,) = [c for c in found.work.cells if c.name == "high_capacity"]
    assert cell.config.data.train_file == str(Path("own.jsonl").absolute())


def test_another_base_in_a_change_is_evaluated_too(run: Work) -> None:
    found = found_again(run.folder, failed=True, overrides=("model.name=owner/new",))
    assert found.left.new == ("high_capacity", "baseline-3")


@pytest.fixture
def new_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let today's code be other than the copy that was queued; return its digest."""
    code = sweeps.code(tmp_path / "today", "answer = 43\n")
    monkeypatch.setattr(resubmission, "running_code", lambda: code)
    return code.tree


def test_today_s_code_runs_only_what_is_submitted(run: Work, new_code: str) -> None:
    found = found_again(run.folder, failed=True, new_code=True)
    assert found.left.new == ("high_capacity",)
    assert found.left.done == ("default", "baseline")
    assert found.work.code.name == new_code[:12]
    assert found.work.identities["default"]["code"] == run.identities["default"]["code"]
    assert not found.aside  # a training goes on from its checkpoint
    write_run(found)
    assert (run.folder.code / new_code[:12] / "code.json").exists()


def test_each_cell_goes_on_with_the_code_that_it_was_queued_with(run: Work, new_code: str) -> None:
    write_run(found_again(run.folder, failed=True, new_code=True))
    again = found_again(run.folder, failed=True)
    assert again.work.code.name == new_code[:12]
    other = found_again(run.folder, only=("demo",))
    assert other.work.code == run.code
    with pytest.raises(PreflightError, match="queued with different code .*--only, .*--new-code"):
        found_again(run.folder)
    assert found_again(run.folder, new_code=True).left.new == (
        "high_capacity",
        "demo",
        "baseline-2",
    )


def test_data_that_changed_since_is_refused(
    tmp_path: Path,
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "1", "text": "a", "label": "normal"}\n')
    work = sweeps.work(tmp_path, sweeps.sweep(evaluate={"sets": (str(rows),)}))
    sweeps.write(work, tmp_path)
    one = Submitted(1, "train", "train", "7", ("default",), "2026-01-01T00:00:00+00:00", 0, 60)
    submissions.append_submission(work.folder.path, one)
    rows.write_text('{"id": "1", "text": "b", "label": "normal"}\n')
    with pytest.raises(PreflightError, match=r"cell 'default' was submitted with other content"):
        found_again(work.folder)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lora.rnak=8", "cell high_capacity: .*rnak"),
        ("lora.rank=zero", "cell high_capacity: .*lora.rank"),
        ("output_dir=x", "every cell has a folder of its own"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_is_written(
    run: Work, override: str, said: str
) -> None:
    before = sorted(run.folder.path.rglob("*"))
    with pytest.raises(PreflightError, match=said):
        found_again(run.folder, failed=True, overrides=(override,))
    assert sorted(run.folder.path.rglob("*")) == before


def test_another_time_limit_is_of_all_that_computes(run: Work) -> None:
    stages = found_again(run.folder, time_min=90).work.profile.stages
    assert (stages.train.time_min, stages.evaluate.time_min) == (90, 90)
    assert stages.compare == run.profile.stages.compare


def test_a_time_limit_that_is_over_before_the_signal_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"--time: 3 minutes are over before signal_seconds"):
        with_time(sweeps.cluster(), 3, ["train"])
    local = sweeps.cluster(slurm=None)
    assert with_time(local, 3, ["train"]).stages.train.time_min == 3


def test_what_is_no_sweep_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "one")
    write_json(folder.run_json, {"kind": "train", "cells": []})
    with pytest.raises(PreflightError, match="not a sweep, but one `hsd train`"):
        found_again(folder)
