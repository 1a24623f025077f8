"""A submission that was killed half way: the same command again queues each job once."""

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import ranks  # noqa: F401  (its server of processes starts early)
from waiting import until

from benchmarks.kill.submission import trial, undisturbed
from hsd.errors import SubmissionError
from slurm.cluster.client import CommandFailed
from slurm.cluster.orphans import orphans, wait_for_orphans
from slurm.node.events import record
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.submit import recovery


class Queue:
    """SLURM's programs, of which only what was asked counts."""

    def __init__(self, stays: Iterable[str] = ()) -> None:
        self.gone: set[str] = set()
        self.stays, self.released, self.comments = set(stays), list[str](), list[str]()
        self.late: list[str] = []
        self.ends = set[str]()

    def waiting(self, comments: Any, ids: Any) -> list[str]:
        assert "hsd-x" in comments
        return [*(job for job in ids if job not in self.gone), *self.late]

    def strays(self, names: Any, known: Any) -> dict[str, str]:
        assert (list(names), list(known)) == ([], ["7"])  # an older hsd wrote no names down
        return {}

    def release(self, jobs: Any) -> None:
        if self.ends:
            self.gone, self.ends = self.ends, set()
            raise CommandFailed("scontrol", 1, "7: Job has already finished")
        self.released += jobs

    def take_back(self, comments: Any, known: Any = ()) -> set[str]:
        assert list(known) in ([], ["7"])
        self.comments += comments
        return self.stays


def settle(run: RunFolder, queue: Any, release: bool = True) -> list[str]:
    """Settle with a stand-in, which is no Slurm to a type checker."""
    return recovery.settle(run, queue, release=release)


def killed(folder: Path, *more: dict[str, Any]) -> RunFolder:
    """Return a run whose submission was killed after `more` was written down."""
    job = {"number": 1, "stage": "train", "kind": "train", "job_id": "7", "cells": ["a"]}
    job |= {"at": "2026-01-01T00:00:00+00:00", "gpus": 0, "time_min": 9}
    lines: list[dict[str, Any]] = [{"begun": 1}, {"asked": 1, "comment": "hsd-x"}, job, *more]
    for line in lines:
        submissions.append_submission(folder, line)
    return RunFolder(folder)


def test_jobs_of_a_killed_submission_are_taken_back_by_their_comments(tmp_path: Path) -> None:
    queue, run = Queue(), killed(tmp_path, {"asked": 1, "comment": "hsd-unanswered"})
    assert settle(run, queue) == ["submission 1 was killed half way: took its jobs back."]
    assert queue.comments == ["hsd-x", "hsd-unanswered"]
    assert submissions.read_submissions(tmp_path) == []
    assert submissions.next_number(tmp_path) == 2
    assert settle(run, queue) == []


def test_where_the_release_alone_was_missing_it_is_made_up_for(tmp_path: Path) -> None:
    queue, run = Queue(), killed(tmp_path, {"complete": 1})
    assert settle(run, queue) == ["submission 1 was killed half way: released its jobs (7)."]
    assert queue.released == ["7"]
    assert [one.released for one in submissions.read_submissions(tmp_path)] == [True]


def test_jobs_that_ended_since_are_not_released_and_stop_nothing(tmp_path: Path) -> None:
    queue, run = Queue(), killed(tmp_path, {"complete": 1})
    queue.gone = {"7"}
    (said,) = settle(run, queue)
    assert said.endswith("none of its jobs waits any more.")
    assert submissions.unsettled(tmp_path) == []


def test_who_cancels_jobs_finds_a_whole_submission_as_it_is(tmp_path: Path) -> None:
    queue, run = Queue(), killed(tmp_path, {"complete": 1})
    assert settle(run, queue, release=False) == []
    assert (queue.released, queue.comments) == ([], [])
    assert len(submissions.unsettled(tmp_path)) == 1


def test_a_job_that_has_begun_is_not_forgotten_when_it_is_taken_back(tmp_path: Path) -> None:
    queue, run = Queue(), killed(tmp_path)
    record(run.attempts("a", "train"), "started", job="7_0")
    settle(run, queue)
    assert [one.job_id for one in submissions.read_submissions(tmp_path)] == ["7"]
    assert submissions.unsettled(tmp_path) == []


def test_jobs_that_stay_are_named_and_tried_again(tmp_path: Path) -> None:
    run = killed(tmp_path)
    with pytest.raises(SubmissionError, match="scancel 7$"):
        settle(run, Queue({"7"}))
    assert submissions.unsettled(tmp_path) != []


def test_an_ended_submission_and_one_of_an_older_hsd_are_left_alone(tmp_path: Path) -> None:
    queue = Queue()
    assert settle(killed(tmp_path / "a", {"released": 1}), queue) == []
    submissions.append_submission(tmp_path / "b", {"released": 1})
    assert settle(RunFolder(tmp_path / "b"), queue) == []


def test_a_job_that_slurm_accepted_after_the_rest_was_taken_back_is_cancelled(
    tmp_path: Path,
) -> None:
    queue, run = Queue(), killed(tmp_path, {"taken_back": 1})
    assert settle(run, queue) == []
    queue.late = ["8"]
    assert settle(run, queue) == ["SLURM accepted a job of a killed submission late: cancelled 8."]
    assert queue.comments == ["hsd-x"]


def test_a_job_that_ends_while_the_others_are_released_stops_nothing(tmp_path: Path) -> None:
    queue, run = Queue(), killed(tmp_path, {"complete": 1})
    queue.ends = {"7"}
    (said,) = settle(run, queue)
    assert said.endswith("none of its jobs waits any more.")


def test_an_sbatch_that_outlives_hsd_is_waited_for(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import time; time.sleep(600)", "--comment=hsd-late"]
    with subprocess.Popen(program) as sbatch:
        assert orphans(["hsd-other"]) == []
        until(lambda: orphans(["hsd-late"]) == [sbatch.pid], "the program to show")
        wait_for_orphans(["hsd-late"], longest_s=0)
        assert sbatch.wait() == -signal.SIGKILL
    assert orphans(["hsd-late"]) == []


@pytest.mark.e2e
def test_killed_after_a_job_was_accepted_the_same_command_submits_each_job_once(
    tmp_path: Path,
) -> None:
    whole, calls = undisturbed(tmp_path / "whole")
    assert list(trial(tmp_path / "killed", calls - 3, "after", whole)) == []
