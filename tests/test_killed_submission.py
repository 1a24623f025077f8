"""Killed anywhere, the same command again queues every job of a sweep once, and holds none."""

import itertools
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sweeps

from slurm.node.events import append_line
from slurm.run import submissions
from slurm.run.run_folder import RunFolder, whole_stage
from slurm.submit import pickles, recovery, submission
from slurm.submit.work import left_to_do, prepared

QUEUED = {
    "train": (),
    "evaluate": ("--dependency=aftercorr:train",),
    "baseline": (),
    "compare": ("--dependency=afterany:evaluate,afterany:baseline",),
}
"""Each stage of the sweep, and what it waits for."""
POINTS = 20
"""Calls to SLURM and lines of submissions.jsonl of one submission, and files that it names anew."""


class Killed(BaseException):
    """SIGKILL, which no handler sees: whoever is dead does nothing any more."""


@dataclass
class Process:
    """A process that is killed before or after the action `at`; each later one fails, too."""

    at: int
    when: str
    count: int = 0
    dead: bool = False

    def act(self, action: Callable[[], Any]) -> Any:
        """Do something that others see, unless the process is dead."""
        if self.dead:
            raise Killed
        self.count += 1
        self.dead = self.count == self.at
        if self.dead and self.when == "before":
            raise Killed
        done = action()
        if self.dead:
            raise Killed
        return done


@dataclass
class Job:
    """A job of the queue."""

    stage: str
    comment: str
    options: tuple[str, ...]
    held: bool = True


@dataclass
class Queue:
    """SLURM, which outlives who asks it. Jobs wait, and never start."""

    jobs: dict[str, Job] = field(default_factory=dict)
    ids: Any = field(default_factory=lambda: itertools.count(1))
    process: Process = field(default_factory=lambda: Process(0, "never"))

    def submit(self, script: Path, *options: str, comment: str, **_: str) -> str:
        def accepted() -> str:
            job_id = str(next(self.ids))
            self.jobs[job_id] = Job(script.parent.name, comment, options)
            return job_id

        return str(self.process.act(accepted))

    def release(self, ids: Iterable[str]) -> None:
        def released() -> None:
            for one in list(ids):
                self.jobs[one].held = False

        self.process.act(released)

    def waiting(self, comments: Iterable[str], *_: Iterable[str]) -> list[str]:
        wanted = set(comments)
        return [one for one, job in self.jobs.items() if job.comment in wanted]

    def strays(self, *_: Any) -> dict[str, str]:
        return {}  # no site changes comments here

    def take_back(self, comments: Iterable[str], *_: Iterable[str]) -> set[str]:
        wanted = set(comments)
        for one in [one for one, job in self.jobs.items() if job.comment in wanted]:
            self.process.act(partial(self.jobs.pop, one))
        return set()

    def left(self) -> dict[str, tuple[str, ...]]:
        """Return what each stage in the queue waits for; of two of a stage a name is wrong."""
        stages = {one: job.stage for one, job in self.jobs.items()}
        assert len(set(stages.values())) == len(stages), f"queued twice: {stages}"
        assert not [job for job in self.jobs.values() if job.held]
        return {job.stage: _named(job.options, stages) for job in self.jobs.values()}


def _named(options: Iterable[str], stages: dict[str, str]) -> tuple[str, ...]:
    found = [option for option in options if option.startswith("--dependency")]
    for number, stage in stages.items():
        found = [
            ",".join(f"{w}:{stage}" if j == number else f"{w}:{j}" for w, j in pairs)
            for pairs in ([p.split(":") for p in option.split(",")] for option in found)
        ]
    return tuple(found)


def run_once(root: Path, queue: Any, patch: pytest.MonkeyPatch) -> None:
    """Do what `hsd run` does of its submission; the process may be killed meanwhile."""
    act, hand_over = queue.process.act, pickles.hand_over
    with patch.context() as dying:
        dying.setattr(submissions, "append_line", lambda *a: act(lambda: append_line(*a)))
        dying.setattr(submission, "hand_over", lambda *a: act(lambda: hand_over(*a)))
        with suppress(Killed):
            recovery.settle(RunFolder(root / "pair"), queue)
            work = sweeps.work(root)
            known = submissions.newest(submissions.read_submissions(work.folder.path))
            left = left_to_do(work, lambda *of: (whole_stage(of[0]), of[1]) in known)
            if left.plan.stages:
                sweeps.write(work, root)
                submission.submit(prepared(work, left.plan), queue)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power cut is played here, and a busy disk takes a second for each fsync."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # noqa: ARG005


def test_an_undisturbed_submission_has_so_many_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue()
    run_once(tmp_path, queue, monkeypatch)
    assert queue.left() == QUEUED
    assert queue.process.count == POINTS


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, POINTS + 1))
def test_killed_at_any_point_the_same_command_queues_each_job_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    queue = Queue(process=Process(at, when))
    run_once(tmp_path, queue, monkeypatch)
    assert queue.process.dead
    queue.process = Process(0, "never")
    run_once(tmp_path, queue, monkeypatch)
    assert queue.left() == QUEUED
    assert submissions.unsettled(tmp_path / "pair") == []


@pytest.mark.parametrize("first", [8, 19], ids=["some jobs are held", "all are released"])
def test_who_mends_it_may_be_killed_at_any_point_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    for second in itertools.count(1):
        root = tmp_path / str(second)
        root.mkdir()
        queue = Queue(process=Process(first, "after"))
        run_once(root, queue, monkeypatch)
        queue.process = Process(second, "after")
        run_once(root, queue, monkeypatch)
        if not queue.process.dead:
            break  # it did all that it had to do before
        queue.process = Process(0, "never")
        run_once(root, queue, monkeypatch)
        assert queue.left() == QUEUED
    assert second > 2
