"""All jobs of a plan or none: in which order they are accepted, and what is taken back when."""

import json
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sweeps

from hsd.errors import HsdError, Stopped, SubmissionError
from slurm.cluster.client import ClusterError, CommandFailed
from slurm.run import submissions
from slurm.submit import submission
from slurm.submit.submission import SubmissionBundle, commands, next_submission_number
from slurm.submit.work import prepared

STAGES = ("train", "evaluate", "baseline", "compare")


@dataclass
class Scripted:
    """A stand-in for SLURM's programs: it counts jobs from 1, and fails as it is told."""

    fails_at: str = ""
    """A stage, or `release`."""
    error: BaseException = field(default_factory=lambda: CommandFailed("sbatch", 1, "no such qos"))
    keeps: tuple[str, ...] = ()
    """Jobs that scancel cannot cancel."""
    did: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    """Stage -> the script that sbatch got."""

    def submit(self, script: Path, *options: str, name: str, comment: str) -> str:
        stage = script.parent.name
        assert name == f"hsd-pair-{stage}"
        self.comments.append(comment)
        if stage == self.fails_at:
            raise self.error
        self.seen[stage] = script.read_text()
        assert list(script.parent.glob("task*.pkl"))
        self.did.append(" ".join(["submit", stage, *options]))
        return str(sum(line.startswith("submit") for line in self.did))

    def release(self, ids: Any) -> None:
        if self.fails_at == "release":
            raise self.error
        self.did.append(f"release {' '.join(ids)}")

    def take_back(self, comments: list[str], known: dict[str, str]) -> set[str]:
        assert comments == self.comments  # of one that was refused, and may be there, too
        self.did.append(f"cancel {' '.join([*known][::-1])}".strip())
        return set(self.keeps)


@pytest.fixture
def ready(tmp_path: Path) -> SubmissionBundle:
    """Return a sweep of two cells with its base, ready to be submitted."""
    work = sweeps.work(tmp_path)
    return prepared(work, sweeps.write(work, tmp_path).left.plan)


def lines(ready: SubmissionBundle) -> list[str]:
    """Return the words of submissions.jsonl: which job was accepted, taken back, released."""
    return [
        f"{line['stage']} {line['job_id']}"
        if "stage" in line
        else " ".join(f"{key} {value}" for key, value in line.items() if key != "at")
        for line in submissions.submission_lines(ready.plan.folder.path)
        if not line.keys() & {"begun", "asked", "complete", "taken_back"}
    ]


def submit(
    ready: SubmissionBundle, slurm: Any, *accepted: Callable[[submissions.Submitted], None]
) -> list[submissions.Submitted]:
    """Submit to a stand-in, which is no Slurm to a type checker."""
    return submission.submit(ready, slurm, *accepted)


def refused(ready: SubmissionBundle, slurm: Any) -> str:
    with pytest.raises(SubmissionError) as caught:
        submit(ready, slurm)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_stage_is_held_until_all_were_accepted(ready: SubmissionBundle) -> None:
    slurm = Scripted()
    accepted = submit(ready, slurm)
    assert slurm.did == [
        "submit train",
        "submit evaluate --dependency=aftercorr:1 --kill-on-invalid-dep=yes",
        "submit baseline",
        "submit compare --dependency=afterany:2,afterany:3 --kill-on-invalid-dep=yes",
        "release 1 2 3 4",
    ]
    assert [(one.stage, one.job_id) for one in accepted] == [*zip(STAGES, "1234", strict=True)]
    assert lines(ready) == ["train 1", "evaluate 2", "baseline 3", "compare 4", "released 1"]
    assert submissions.unsettled(ready.plan.folder.path) == []
    assert accepted[0].cells == ("default", "high_capacity")


def test_each_job_is_asked_for_in_writing_before_sbatch_is_called(ready: SubmissionBundle) -> None:
    submit(ready, Scripted())
    kinds = [next(iter(line)) for line in submissions.submission_lines(ready.plan.folder.path)]
    assert kinds == ["begun", *["asked", "number"] * len(STAGES), "complete", "released"]


def test_what_sbatch_gets_is_what_a_dry_run_shows(ready: SubmissionBundle) -> None:
    slurm = Scripted()
    submit(ready, slurm)
    assert slurm.seen == dict(ready.scripts)
    folder = ready.plan.folder.path
    assert commands(ready)[1] == (
        "sbatch --hold --dependency=aftercorr:<train> --kill-on-invalid-dep=yes "
        f"{folder}/submissions/001/evaluate/script.sh"
    )


def test_pickles_are_named_for_the_elements_before_anything_starts(ready: SubmissionBundle) -> None:
    submit(ready, Scripted())
    names = {p.name for p in ready.folder(ready.plan.stages[0]).iterdir()}
    assert names == {"script.sh", "1_0_submitted.pkl", "1_1_submitted.pkl"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_what_is_submitted(ready: SubmissionBundle, umask: int) -> None:
    before = os.umask(umask)
    try:
        submit(ready, Scripted())
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    everything = [ready.plan.folder.path, *ready.plan.folder.path.rglob("*")]
    assert not [p for p in everything if stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_when_the_third_is_refused_all_are_taken_back_from_the_leaves(
    ready: SubmissionBundle,
) -> None:
    slurm = Scripted(fails_at="baseline")
    assert refused(ready, slurm) == (
        "baseline: sbatch: no such qos. The 2 jobs submitted before it were taken back."
    )
    assert slurm.did[-1] == "cancel 2 1"
    assert lines(ready) == ["train 1", "evaluate 2", "cancelled 2", "cancelled 1"]
    assert submissions.unsettled(ready.plan.folder.path) == []
    assert not submissions.read_submissions(ready.plan.folder.path)


def test_the_first_that_is_refused_leaves_nothing_to_take_back(ready: SubmissionBundle) -> None:
    slurm = Scripted(fails_at="train")
    assert refused(ready, slurm).endswith("No job was submitted before it.")
    assert slurm.did == ["cancel"]  # nothing but what sbatch may have accepted all the same
    assert lines(ready) == []


def test_a_release_that_fails_takes_all_back(ready: SubmissionBundle) -> None:
    said = refused(ready, Scripted(fails_at="release"))
    assert said.startswith("release: ")
    assert said.endswith("The 4 jobs submitted before it were taken back.")
    assert lines(ready)[-4:] == [f"cancelled {number}" for number in (4, 3, 2, 1)]


def test_jobs_that_cannot_be_taken_back_are_named(ready: SubmissionBundle) -> None:
    slurm = Scripted(fails_at="compare", keeps=("1", "3"))
    assert refused(ready, slurm).endswith("Held jobs are left; remove them: scancel 3 1")
    assert slurm.did[-1] == "cancel 3 2 1"
    assert lines(ready)[-1] == "cancelled 2"
    left = [one.job_id for one in submissions.read_submissions(ready.plan.folder.path)]
    assert left == ["1", "3"]  # so that `hsd status` and `hsd cancel` know them


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ClusterError("sbatch: not found on this machine."), "not found on this machine. The job"),
        (OSError(28, "No space left on device", "/runs/x"), "/runs/x: No space left on device."),
    ],
)
def test_every_error_takes_back(ready: SubmissionBundle, error: Exception, said: str) -> None:
    slurm = Scripted(fails_at="evaluate", error=error)
    assert said in refused(ready, slurm)
    assert slurm.did[-1] == "cancel 1"


def test_a_bug_of_ours_takes_back_and_keeps_its_traceback(ready: SubmissionBundle) -> None:
    slurm = Scripted(fails_at="evaluate", error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        submit(ready, slurm)
    assert slurm.did[-1] == "cancel 1"


@dataclass
class Interrupted(Scripted):
    """Ctrl-C comes in the second sbatch, and again while the jobs are taken back."""

    def submit(self, script: Path, *options: str, name: str, comment: str) -> str:
        if script.parent.name == "evaluate":
            self.comments.append(comment)
            os.kill(os.getpid(), signal.SIGINT)
        return super().submit(script, *options, name=name, comment=comment)

    def take_back(self, comments: list[str], known: dict[str, str]) -> set[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return super().take_back(comments, known)


def test_ctrl_c_takes_back_and_a_second_one_does_not_interrupt_that(
    ready: SubmissionBundle,
) -> None:
    slurm = Interrupted()
    with pytest.raises(Stopped, match="nothing was submitted. The same command begins again"):
        submit(ready, slurm)
    assert slurm.did == ["submit train", "cancel 1"]
    assert not submissions.read_submissions(ready.plan.folder.path)


def test_ctrl_c_with_a_job_that_cannot_be_taken_back_names_it(ready: SubmissionBundle) -> None:
    said = refused(ready, Interrupted(keeps=("1",)))
    assert said == "evaluate: interrupted. Held jobs are left; remove them: scancel 1"


def test_after_a_submission_that_was_taken_back_the_same_can_be_submitted(
    ready: SubmissionBundle, tmp_path: Path
) -> None:
    with pytest.raises(HsdError):
        submit(ready, Scripted(fails_at="baseline"))
    work = sweeps.work(tmp_path)
    again = prepared(work, sweeps.write(work, tmp_path).left.plan)
    assert again.number == 2  # the first one's files are kept apart
    slurm = Scripted()
    submit(again, slurm)
    assert {one.number for one in submissions.read_submissions(work.folder.path)} == {2}


def test_submissions_are_counted_by_what_was_accepted(ready: SubmissionBundle) -> None:
    folder = ready.plan.folder
    assert next_submission_number(folder) == 1
    submit(ready, Scripted())
    assert next_submission_number(folder) == 2
    line = json.dumps({"cancelled": "1", "at": "now"})
    with folder.submissions.open("a") as file:
        file.write(f"{line}\n")
    assert next_submission_number(folder) == 2


def test_each_accepted_job_is_told_as_it_is_accepted(ready: SubmissionBundle) -> None:
    told: list[str] = []
    submit(ready, Scripted(), lambda one: told.append(one.stage))
    assert told == list(STAGES)


def test_a_submission_leaves_signals_as_they_were(ready: SubmissionBundle) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    submit(ready, Scripted())
    assert [signal.getsignal(number) for number in numbers] == before
