"""What is left of a sweep: what is done, queued, changed or new, and what is written of it."""

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sweeps

from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from slurm.run import submissions
from slurm.run.run_folder import RunFolder, find_run
from slurm.run.run_state import slurm_of, states
from slurm.run.submissions import Submitted
from slurm.submit.parts import Left
from slurm.submit.work import (
    Active,
    Work,
    left_to_do,
    live_in,
    pinned_sweep,
    prepared,
    seen_by,
    work_on,
)
from slurm.submit.write_run import set_aside, write_run
from slurm.sweep.sweep import cells

TWO_BASES = {
    "presets": ("default",),
    "grid": {"model.name": ("owner/a", "owner/b")},
}


def finish(work: Work, *names: str) -> None:
    """Mark stages of cells as done, each written `train default`."""
    for name in names:
        stage, cell = name.split()
        write_json(work.folder.done(cell, stage), {"identity": work.hash_for(stage, cell)})


def drawn(left: Left) -> dict[str, list[str]]:
    """Return the cells of each stage."""
    return {stage.name: [task.cell for task in stage.tasks] for stage in left.plan.stages}


ALL = ("train default", "evaluate default", "train high_capacity", "evaluate high_capacity")


def test_of_a_new_sweep_everything_is_left(tmp_path: Path) -> None:
    left = left_to_do(sweeps.work(tmp_path))
    assert list(drawn(left)) == ["train", "evaluate", "baseline", "compare"]
    assert left.new == ("default", "high_capacity", "baseline")
    assert (left.done, left.active) == ((), ())


def test_what_is_done_is_skipped(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    finish(work, "train default", "evaluate default", "train high_capacity", "baseline baseline")
    left = left_to_do(work)
    assert drawn(left) == {"evaluate": ["high_capacity"], "compare": ["all"]}
    assert (left.new, left.done) == (("high_capacity",), ("default", "baseline"))


def test_a_finished_sweep_is_compared_once(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    finish(work, *ALL, "baseline baseline")
    assert drawn(left_to_do(work)) == {"compare": ["all"]}
    finish(work, "compare all")
    assert drawn(left_to_do(work)) == {}


def test_a_marker_of_other_content_is_not_done(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    write_json(work.folder.done("default", "train"), {"identity": "another"})
    assert "default" in drawn(left_to_do(work))["train"]


def test_a_cell_in_the_queue_is_left_alone_whatever_it_lacks(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    left = left_to_do(work, lambda stage, cell: (stage, cell) == ("evaluate", "default"))
    assert drawn(left)["train"] == ["high_capacity"]
    assert left.active == ("default",)


def test_nothing_is_compared_while_the_rest_is_in_the_queue(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    finish(work, "train default", "evaluate default", "baseline baseline")
    left = left_to_do(work, lambda _, cell: cell == "high_capacity")
    assert drawn(left) == {}


def test_merging_is_a_stage_of_its_own(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path, sweeps.sweep(merge=True))
    finish(work, "train default", "merge default")
    assert drawn(left_to_do(work)) == {
        "train": ["high_capacity"],
        "merge": ["high_capacity"],
        "evaluate": ["high_capacity"],
        "evaluate.2": ["default"],
        "baseline": ["baseline"],
        "compare": ["all"],
    }


def test_only_some_cells_are_looked_at_when_asked(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path, only=("high_capacity",))
    assert left_to_do(work).new == ("high_capacity", "baseline")
    everything = sweeps.work(tmp_path)
    assert left_to_do(everything, only=("default",)).new == ("default",)


def test_what_a_cell_learns_changes_nothing_about_its_untouched_base(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    finish(work, "baseline baseline")
    changed = sweeps.work(tmp_path, lora__rank="8", training__epochs="7")
    assert changed.is_done("baseline", "baseline")
    assert not changed.is_done("train", "default")
    assert not sweeps.work(tmp_path, model__revision="abc").is_done("baseline", "baseline")


def test_a_base_keeps_its_name_and_its_result_when_one_cell_is_asked_for(tmp_path: Path) -> None:
    of = sweeps.sweep(**TWO_BASES)
    work = sweeps.work(tmp_path, of)
    assert list(work.bases) == ["baseline", "baseline-2"]
    sweeps.write(work, tmp_path)
    finish(work, "baseline baseline", "baseline baseline-2")
    second = sweeps.work(tmp_path, of, only=("default-name=owner_b",))
    assert list(second.bases) == ["baseline-2"]
    assert second.is_done("baseline", "baseline-2")


def test_a_base_that_was_asked_for_first_is_the_first(tmp_path: Path) -> None:
    of = sweeps.sweep(**TWO_BASES)
    second = sweeps.work(tmp_path, of, only=("default-name=owner_b",))
    assert list(second.bases) == ["baseline"]
    sweeps.write(second, tmp_path)
    whole = sweeps.work(tmp_path, of)
    names = {name: cell.config.model.name for name, cell in whole.bases.items()}
    assert names == {"baseline-2": "owner/a", "baseline": "owner/b"}


def submitted(folder: RunFolder, *cells: str, job: str = "7", stage: str = "train") -> None:
    submissions.append_submission(
        folder.path, Submitted(1, stage, stage, job, cells, "2026", 0, 60)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora__rank": "8"}, "config.lora.rank: 32 -> 8"),
        ({"source": "answer = 43\n"}, "code: "),
        ({"of": sweeps.sweep(evaluate={"sets": ("embedded",), "set": {"x": 1}})}, "evaluate.set.x"),
    ],
)
def test_a_submitted_cell_that_changed_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    sweeps.work(tmp_path, **changes)  # nothing of it was submitted yet
    submitted(work.folder, "default")
    with pytest.raises(
        PreflightError, match="cell 'default' was submitted with other content"
    ) as e:
        sweeps.work(tmp_path, **changes)
    assert said in str(e.value)
    assert sweeps.work(tmp_path, only=("high_capacity",), **changes)  # which was not


def test_finding_out_writes_nothing(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    prepared(work, left_to_do(work).plan)
    assert not work.folder.path.exists()


def test_what_jobs_read_is_written_and_reads_back(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    found = sweeps.write(work, tmp_path)
    folder = work.folder
    config = read_json(folder.config("default"))
    assert config["output_dir"] == str(folder.train("default"))
    assert read_json(folder.identity("default")) == work.identities["default"]
    assert read_json(folder.identity("baseline")) == work.identities["baseline"]
    facts = folder.facts()
    assert [cell["name"] for cell in facts["cells"]] == ["default", "high_capacity"]
    assert facts["kind"] == "sweep"
    assert type(work.profile).model_validate(facts["profile"]) == work.profile
    assert type(work.sweep).model_validate(facts["sweep"]) == work.sweep
    assert (work.code / "hsd/one.py").exists()
    assert found.code is not None
    assert find_run("pair").path == folder.path


def test_a_written_run_is_for_its_owner_alone(tmp_path: Path) -> None:
    for umask in (0o000, 0o022):
        before = os.umask(umask)
        try:
            work = sweeps.work(tmp_path / str(umask))
            sweeps.write(work, tmp_path / str(umask))
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        everything = [work.folder.path, *work.folder.path.rglob("*")]
        assert not [p for p in everything if stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_an_empty_folder_that_somebody_made_is_closed_and_one_in_use_is_left_as_it_is(
    tmp_path: Path,
) -> None:
    work = sweeps.work(tmp_path)
    work.folder.path.mkdir(mode=0o755, parents=True)
    sweeps.write(work, tmp_path)
    assert stat.S_IMODE(work.folder.path.stat().st_mode) == 0o700
    work.folder.path.chmod(0o750)  # its owner lets the group look
    sweeps.write(work, tmp_path)
    assert stat.S_IMODE(work.folder.path.stat().st_mode) == 0o750


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    work.folder.path.parent.mkdir(exist_ok=True)
    work.folder.path.write_text("a file")
    with pytest.raises(PreflightError, match="pair: cannot be written .*set shared_root"):
        sweeps.write(work, tmp_path)


def test_a_home_that_cannot_be_written_keeps_no_run_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    assert work.folder.run_json.exists()


def test_nothing_of_a_cell_in_the_queue_is_written(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    changed = sweeps.work(tmp_path, lora__rank="8")
    found = sweeps.found(changed, tmp_path)
    left = left_to_do(changed, lambda _, cell: cell == "default")
    write_run(replace(found, left=left))
    assert read_json(work.folder.config("default"))["lora"]["rank"] == 32
    assert read_json(work.folder.config("high_capacity"))["lora"]["rank"] == 8


def test_cells_keep_their_order_and_those_of_before_stay(tmp_path: Path) -> None:
    sweeps.write(sweeps.work(tmp_path), tmp_path)
    created = sweeps.work(tmp_path).folder.facts()["created"]
    work = sweeps.work(tmp_path, only=("default",))
    sweeps.write(work, tmp_path)
    facts = work.folder.facts()
    assert [cell["name"] for cell in facts["cells"]] == ["default", "high_capacity"]
    assert facts["created"] == created


def test_what_is_put_aside_is_kept_and_counted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for text in ("first", "second"):
        write_json(folder.done("a", "train"), text)
        set_aside(folder, "a")
    assert not folder.done("a", "train").exists()
    kept = {p.parent.name: json.loads(p.read_text()) for p in tmp_path.rglob("train.done.json")}
    assert kept == {"before-1": "first", "before-2": "second"}


@pytest.mark.parametrize("moves", range(4))
def test_killed_while_output_is_put_aside_a_cell_is_readable_and_not_done_without_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    folder, left = RunFolder(tmp_path), iter(range(moves))
    for file in (folder.config("a"), folder.done("a", "train"), folder.done("a", "evaluate")):
        write_json(file, "old")
    folder.train("a").mkdir()
    rename = Path.rename
    with monkeypatch.context() as dying, suppress(StopIteration):
        dying.setattr(Path, "rename", lambda *names: next(left) < 0 or rename(*names))
        set_aside(folder, "a")
    assert json.loads(folder.config("a").read_text()) == "old"
    assert folder.train("a").exists() or not folder.done("a", "train").exists()


Programs = Callable[..., None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Give `programs(squeue="...")`: shell scripts alone on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(**scripts: str) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        for name, body in scripts.items():
            file = tmp_path / "bin" / name
            file.write_text(f"#!/bin/sh\n{body}\n")
            file.chmod(0o755)

    return write


QUEUED = 'echo "7|0|7_0|PENDING|0:00|1:00|N/A||(null)||hsd-pair-train||Priority"'


def active_in(work: Work) -> Active:
    """Return who is being worked on, by SLURM's word."""
    return live_in(states(work.folder.path, slurm_of(work.folder)))


def test_what_slurm_has_is_active_even_for_a_run_on_this_machine(
    tmp_path: Path, programs: Programs
) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    submitted(work.folder, "default")
    programs(squeue=QUEUED, sacct="exit 1")
    here = replace(work, profile=work.profile.model_copy(update={"slurm": None}))
    for one in (work, here):
        active = active_in(one)
        assert active("train", "default")
        assert not active("train", "high_capacity")


def test_a_run_on_this_machine_that_was_killed_does_not_block_the_next(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    submitted(work.folder, "default", job="local1-train")
    events = work.folder.attempts("default", "train")
    events.parent.mkdir(parents=True)
    events.write_text('{"at": "2026", "event": "started", "job": "local1-train_0"}\n')
    assert not active_in(work)("train", "default")


def test_when_slurm_does_not_answer_nothing_is_queued_twice(
    tmp_path: Path, programs: Programs
) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    submitted(work.folder, "default")
    programs(squeue="echo 'slurm_load_jobs error: Unable to contact controller' >&2; exit 1")
    with pytest.raises(
        PreflightError, match="SLURM does not say which of its jobs are in the queue"
    ):
        active_in(work)


def test_a_machine_without_slurm_can_still_show_a_dry_run(
    tmp_path: Path, programs: Programs
) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    submitted(work.folder, "default")
    programs()
    assert not active_in(work)("train", "default")


def test_named_rows_are_pinned_to_the_folder_that_they_are_in(tmp_path: Path) -> None:
    assert pinned_sweep(sweeps.sweep()) == sweeps.sweep()
    with pytest.raises(PreflightError, match=r"pair: \[evaluate\]"):
        pinned_sweep(sweeps.sweep(evaluate={"sets": ("unified",)}))


def test_rows_that_are_elsewhere_change_no_plan_and_are_named_once(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jsonl")
    data = {"train_file": gone, "validation_file": "embedded"}
    of = sweeps.sweep(data=data, evaluate={"sets": ("unified", "embedded")})
    made = cells(of)
    work = work_on(of, made, sweeps.cluster(tmp_path), sweeps.code(tmp_path), dry_run=True)
    assert list(work.absent) == [gone, "unified"]
    assert work.identities["default"]["data"][gone] is None
    assert work.identities["default"]["data"]["embedded"]
    assert drawn(left_to_do(work)) == drawn(left_to_do(sweeps.work(tmp_path)))
    assert prepared(work, left_to_do(work).plan).scripts
    with pytest.raises(PreflightError):
        work_on(of, made, sweeps.cluster(tmp_path), sweeps.code(tmp_path))


def test_the_comparison_of_each_submission_is_another(tmp_path: Path) -> None:
    work = sweeps.work(tmp_path)
    sweeps.write(work, tmp_path)
    first = prepared(work, left_to_do(work).plan)
    submitted(work.folder, "default")
    second = prepared(work, left_to_do(work).plan)
    assert first.orders["compare"][0].identity != second.orders["compare"][0].identity
    assert first.orders["train"][0].identity == second.orders["train"][0].identity


def test_a_container_sees_the_rows_themselves_and_the_embedded_ones_by_the_code(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    of = sweeps.sweep(evaluate={"sets": ("embedded", str(tmp_path / "rows.jsonl"))})
    work = sweeps.work(tmp_path, of)
    assert [path for path in seen_by(work, "default") if path.is_file()] == [
        tmp_path / "rows.jsonl"
    ]
    assert tmp_path not in seen_by(work, "baseline")
