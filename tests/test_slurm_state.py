"""From what squeue, sacct and a run's own files say to one word for each cell and stage.

The texts are those of a real Slurm 22.05.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hsd.io.files import write_json
from slurm.cluster.client import ClusterError, CommandFailed, Slurm
from slurm.cluster.parse import Accounted, Queued, gpus_in, parse_accounting, parse_queue, seconds
from slurm.node.events import record
from slurm.run.element_state import NEVER, Element, ElementFacts, element, shown_element
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import RunState, slurm_of, states
from slurm.run.submissions import Submitted, append_submission

QUEUE = """\
55742569|1|55742569_1|CANCELLED|0:00|5:00|N/A||aftercorr:55742568_*(failed)||hsd-mine-evaluate||DependencyNeverSatisfied
55742568|0|55742568_0|COMPLETED|0:02|5:00|2026-11-27T01:25:10|hsd-gpu1|(null)||hsd-mine-train||None
55742568|1|55742568_1|FAILED|0:00|5:00|2026-11-27T01:25:10|hsd-gpu1|(null)||hsd-mine-train||NonZeroExitCode
55742569|3|55742569_3|PENDING|0:00|5:00|N/A||aftercorr:55742568_*(unfulfilled)||hsd-mine-evaluate||Dependency
55742570|N/A|55742570|PENDING|0:00|5:00|N/A||afterok:55742568_*(unfulfilled)||hsd-mine-compare||Dependency
55742568|2|55742568_2|PENDING|0:00|5:00|2026-11-27T01:25:26||(null)||hsd-mine-train||BeginTime
55742568|3|55742568_3|RUNNING|1-00:00:12|UNLIMITED|2026-11-27T01:25:10|hsd-gpu1|(null)||hsd-mine-train||None
"""
ACCOUNTING = """\
55742570|PENDING|0:0|0:0|Dependency|2026-11-27T01:25:10|Unknown|Unknown|0||None assigned||hsd-mine-compare|
55742568_0|COMPLETED|0:0|0:0|None|2026-11-27T01:25:10|2026-11-27T01:25:10|2026-11-27T01:25:12|2|billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=256M,node=1|hsd-gpu1||hsd-mine-train|
55742568_1|FAILED|3:0|0:0|None|2026-11-27T01:25:10|2026-11-27T01:25:10|2026-11-27T01:25:10|0|billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=256M,node=1|hsd-gpu1||hsd-mine-train|
55742568_2|COMPLETED|0:0|0:0|BeginTime|2026-11-27T01:25:15|2026-11-27T01:25:26|2026-11-27T01:25:28|2|billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=256M,node=1|hsd-gpu1||hsd-mine-train|
55742568_2|REQUEUED|0:0|0:0|None|2026-11-27T01:25:10|2026-11-27T01:25:10|2026-11-27T01:25:13|3|billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=256M,node=1|hsd-gpu1||hsd-mine-train|
55742568_3|CANCELLED by 0|0:0|0:0|None|2026-11-27T01:25:10|2026-11-27T01:25:10|2026-11-27T01:25:22|12|billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=256M,node=1|hsd-gpu1||hsd-mine-train|
55742569_1|CANCELLED|0:0|0:0|Dependency|2026-11-27T01:25:10|None|2026-11-27T01:25:11|0||None assigned||hsd-mine-evaluate|
55742598_2|FAILED|0:9|0:0|None|2026-11-27T01:25:44|2026-11-27T01:25:44|2026-11-27T01:25:44|0|billing=1,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=200M,node=1|hsd-gpu2||hsd-mine-train|
55742599_[0-2,5%2]|PENDING|0:0|0:0|None|2026-11-27T01:25:44|Unknown|Unknown|0||None assigned||hsd-mine-train|
"""  # noqa: E501 - as it is printed


# Parsers


def test_squeues_lines_become_elements() -> None:
    queue = parse_queue(QUEUE)
    assert len(queue) == 7
    assert queue["55742568_3"] == Queued(
        job="55742568_3",
        state="RUNNING",
        used_s=86412,
        start="2026-11-27T01:25:10",
        nodes="hsd-gpu1",
        name="hsd-mine-train",
    )
    assert queue["55742569_1"].reason == "DependencyNeverSatisfied"
    assert queue["55742570"].state == "PENDING"


def test_a_reason_may_hold_any_sign() -> None:
    reason = "Nodes required for job are DOWN, DRAINED | more"
    line = f"1|0|1_0|PENDING|0:00|5:00|N/A||(null)|me|x||{reason}\n"
    assert parse_queue(line)["1_0"].reason == reason


def test_lines_that_are_none_of_squeues_or_saccts_are_skipped() -> None:
    assert parse_queue("slurm is being upgraded\n\n") == {}
    assert parse_accounting("slurm is being upgraded\n\n") == {}


def test_saccts_lines_become_attempts_the_oldest_first() -> None:
    attempts = parse_accounting(ACCOUNTING)["55742568_2"]
    assert [one.state for one in attempts] == ["REQUEUED", "COMPLETED"]
    assert [(one.elapsed_s, one.gpus) for one in attempts] == [(3, 1), (2, 1)]


def test_an_array_that_waits_is_one_line_for_all_its_elements() -> None:
    jobs = [job for job in parse_accounting(ACCOUNTING) if job.startswith("55742599")]
    assert jobs == ["55742599_0", "55742599_1", "55742599_2", "55742599_5"]


def test_who_cancelled_and_what_signal_ended_it_are_kept() -> None:
    found = parse_accounting(ACCOUNTING)
    assert found["55742568_3"][0].state == "CANCELLED"
    assert found["55742568_3"][0].by_user
    assert not found["55742569_1"][0].by_user
    assert found["55742598_2"][0].signal == 9


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        ("billing=1,gres/gpu:a100=4,gres/gpu=4,node=1", 4),
        ("gres/gpu:a100=4,gres/gpu:v100=2", 6),
        ("cpu=1,mem=1G", 0),
        ("", None),
    ],
)
def test_gpus_are_the_total_and_none_where_nothing_was_given(tres: str, gpus: int | None) -> None:
    assert gpus_in(tres) == gpus


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:02", 2),
        ("1:00:00", 3600),
        ("2-01:00:00", 176400),
        ("UNLIMITED", None),
        ("INVALID", None),
    ],
)
def test_times_are_seconds(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


# One element

AT = "2026-01-01T10:00:00+00:00"
BEFORE, AFTER = "2026-01-01T09:00:00+00:00", "2026-01-01T11:00:00+00:00"


def train(number: int = 1, job_id: str = "7", stage: str = "train") -> Submitted:
    return Submitted(number, stage, "train", job_id, ("a",), AT, 1, 60)


def event(name: str, job: str = "7_0", **facts: Any) -> dict[str, Any]:
    return {"at": AT, "event": name, "job": job, **facts}


def in_queue(state: str, reason: str = "") -> Queued:
    return Queued("7_0", state, reason)


def over(state: str, code: int = 0, **facts: Any) -> list[Accounted]:
    return [Accounted("7_0", state, code, start=AT, **facts)]


def word(
    queued: Queued | None = None,
    accounted: Sequence[Accounted] = (),
    events: Sequence[Mapping[str, Any]] = (),
    done_at: str | None = None,
    asked: bool = True,
) -> tuple[str, str]:
    known = ElementFacts(train(), 0, done_at, events, queued, accounted, asked)
    found = element("train", "a", known)
    return found.state, found.reason


HELD = "launch failed requeued held"
STARTED, REQUEUED = event("started"), event("requeued")
SIGNALLED = event("signalled", signal="SIGUSR2")


@pytest.mark.parametrize(
    ("queued", "events", "expected"),
    [
        (in_queue("PENDING", "Priority"), [], ("waiting", "Priority")),
        (in_queue("PENDING", "JobHeldUser"), [], ("held", "JobHeldUser")),
        (in_queue("PENDING", "JobHeldAdmin"), [], ("held", "JobHeldAdmin")),
        (in_queue("PENDING", HELD), [], ("held", HELD)),
        (in_queue("PENDING", "BeginTime"), [STARTED, REQUEUED], ("requeued", "BeginTime")),
        (in_queue("CONFIGURING"), [], ("waiting", "")),
        (in_queue("RUNNING"), [STARTED], ("running", "")),
        (in_queue("RUNNING"), [STARTED, SIGNALLED], ("stopping", "SIGUSR2")),
        (in_queue("RUNNING"), [STARTED, SIGNALLED, REQUEUED, STARTED], ("running", "")),
        (in_queue("COMPLETING"), [STARTED], ("stopping", "")),
        (in_queue("SPECIAL_EXIT"), [], ("held", "")),
        (in_queue("SUSPENDED"), [STARTED], ("running", "")),
        (in_queue("A_STATE_OF_2030"), [], ("A_STATE_OF_2030", "")),
    ],
)  # fmt: skip
def test_what_is_in_the_queue(
    queued: Queued, events: list[dict[str, Any]], expected: tuple[str, str]
) -> None:
    assert word(queued, events=events) == expected


@pytest.mark.parametrize("state", ["SUSPENDED", "A_STATE_OF_2030"])
def test_whatever_the_queue_shows_as_not_over_is_live(state: str) -> None:
    known = ElementFacts(train(), queued=in_queue(state), asked=True)
    assert element("train", "a", known).live


def test_a_requeue_is_known_from_accounting_too() -> None:
    assert word(in_queue("PENDING", "BeginTime"), over("REQUEUED"))[0] == "requeued"


@pytest.mark.parametrize(
    ("accounted", "expected"),
    [
        (over("FAILED", 3), ("failed", "exit code 3")),
        (over("FAILED", signal=9), ("failed", "signal 9 (SIGKILL)")),
        (over("TIMEOUT"), ("failed", "TIMEOUT")),
        (over("OUT_OF_MEMORY", 0, signal=125), ("failed", "OUT_OF_MEMORY")),
        (over("NODE_FAIL"), ("failed", "NODE_FAIL")),
        (over("PREEMPTED"), ("failed", "PREEMPTED")),
        (over("CANCELLED", by_user=True), ("cancelled", "")),
        ([Accounted("7_0", "CANCELLED", reason="Dependency")], ("cancelled", NEVER)),
        ([Accounted("7_0", "CANCELLED", reason="Dependency", by_user=True)], ("cancelled", "")),
        (over("COMPLETED"), ("failed", "ended with code 0 but without its marker")),
        ([], ("unknown", "SLURM no longer knows this job")),
    ],
)  # fmt: skip
def test_what_the_queue_has_forgotten_is_known_from_accounting(
    accounted: list[Accounted], expected: tuple[str, str]
) -> None:
    assert word(None, accounted) == expected


def test_the_queue_says_of_what_just_ended_more_than_that_it_failed() -> None:
    assert word(in_queue("FAILED", "JobLaunchFailure")) == ("failed", "JobLaunchFailure")
    assert word(in_queue("FAILED", "NonZeroExitCode"), over("FAILED", 11)) == (
        "failed",
        "exit code 11",
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([STARTED, event("ended", code=11)], ("failed", "exit code 11")),
        ([STARTED, event("ended", code=-9)], ("failed", "exit code 137 (SIGKILL)")),
        ([STARTED, SIGNALLED, event("stopped", code=75, why="the cap")], ("failed", "the cap")),
        ([STARTED, event("cancelled")], ("cancelled", "")),
        ([STARTED], ("unknown", "SLURM no longer knows this job")),
    ],
)
def test_without_accounting_its_own_events_tell(
    events: list[dict[str, Any]], expected: tuple[str, str]
) -> None:
    assert word(None, [], events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [([], "unknown"), ([STARTED], "running"), ([STARTED, SIGNALLED], "stopping")],
)
def test_without_slurm_its_own_events_are_all(events: list[dict[str, Any]], expected: str) -> None:
    assert word(events=events, asked=False)[0] == expected


def test_an_element_without_events_says_that_it_left_no_record() -> None:
    assert word(events=[], asked=False) == ("unknown", "it left no record of its state")


def test_events_of_another_submission_do_not_count() -> None:
    old = [event("started", "3_0"), event("ended", "3_0", code=11)]
    assert word(None, [], old) == ("unknown", "SLURM no longer knows this job")


@pytest.mark.parametrize("slurm", ["RUNNING", "COMPLETING", "COMPLETED", "FAILED"])
def test_a_marker_written_since_means_done_whatever_slurm_says(slurm: str) -> None:
    assert word(in_queue(slurm), done_at=AFTER) == ("done", "")


def test_a_marker_from_before_does_not_hide_a_new_attempt() -> None:
    assert word(in_queue("RUNNING"), done_at=BEFORE)[0] == "running"
    assert word(None, over("FAILED", 11), done_at=BEFORE)[0] == "failed"


def test_a_marker_and_an_end_with_code_0_are_done_even_if_clocks_differ() -> None:
    ended = [STARTED, event("ended", code=0)]
    assert word(None, over("COMPLETED"), done_at=BEFORE)[0] == "done"
    assert word(None, [], ended, done_at=BEFORE)[0] == "done"


def test_attempts_are_counted_from_whoever_knows_more() -> None:
    known = ElementFacts(
        train(), 0, None, [STARTED], None, [*over("REQUEUED"), *over("REQUEUED")], True
    )
    assert element("train", "a", known).attempts == 2


def test_exit_75_is_told() -> None:
    stopped = event("stopped", code=75, why="requeue is 'none'")
    known = ElementFacts(train(), 0, None, [STARTED, stopped], None, over("FAILED", 75), True)
    assert element("train", "a", known).code == 75


# Several elements of one cell and stage


def one(state: str, stage: str = "train", number: int = 1) -> Element:
    return Element(stage, "a", "7_0", state, number=number)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([one("failed"), one("waiting", "train-2"), one("waiting", "train-3")], "train-2"),
        ([one("failed"), one("running", "train-2"), one("waiting", "train-3")], "train-2"),
        ([one("done"), one("cancelled", "train-2")], "train"),
        ([one("failed"), one("failed", "train-2"), one("cancelled", "train-3")], "train-2"),
        ([one("failed"), one("waiting", "train.2", 2)], "train.2"),
        ([one("running"), one("failed", "train.2", 2)], "train.2"),
        ([one("failed"), one("A_STATE_OF_2030", "train-2"), one("failed", "train-3")], "train-2"),
    ],
)
def test_the_element_that_tells_how_a_cell_stands(elements: list[Element], expected: str) -> None:
    assert shown_element(elements).stage == expected


# A run


@dataclass(frozen=True)
class Told(Slurm):
    """What SLURM says, without one."""

    squeue: str | Exception = ""
    sacct: str | None = None

    def queue(self, ids: Any) -> str:  # noqa: ARG002
        if isinstance(self.squeue, Exception):
            raise self.squeue
        return self.squeue

    def accounting(self, ids: Any) -> str | None:  # noqa: ARG002
        return self.sacct


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "mine")
    write_json(folder.run_json, {"cells": [{"name": name} for name in "abcd"]})
    return folder


def submit(run: RunFolder, stage: str, job_id: str, *cells: str, number: int = 1) -> None:
    append_submission(run.path, Submitted(number, stage, stage, job_id, cells, AT, 1, 60))


def words(state: RunState) -> dict[str, str]:
    return {f"{e.cell}/{e.stage}": e.state for e in state.shown}


def test_a_run_is_the_sum_of_squeue_sacct_and_its_files(run: RunFolder) -> None:
    submit(run, "train", "55742568", *"abcd")
    submit(run, "evaluate", "55742569", *"abcd")
    write_json(run.done("a", "train"), {"identity": "x", "at": AFTER})
    state = states(run.path, Told(squeue=QUEUE, sacct=ACCOUNTING))
    assert words(state) == {
        "a/train": "done",
        "a/evaluate": "unknown",
        "b/train": "failed",
        "b/evaluate": "cancelled",
        "c/train": "requeued",
        "c/evaluate": "unknown",
        "d/train": "running",
        "d/evaluate": "waiting",
    }
    assert state.notes == ()
    assert [state.overall(cell) for cell in "abcd"] == ["unknown", "failed", "unknown", "running"]


def test_the_newest_submission_of_a_cell_counts(run: RunFolder) -> None:
    submit(run, "train", "1", "a", "b")
    submit(run, "train", "55742568", "b", number=2)
    write_json(run.done("b", "train"), {"at": AFTER})
    state = states(run.path, Told(squeue=QUEUE))
    assert words(state) == {"a/train": "unknown", "b/train": "done"}


def test_a_slurm_that_does_not_answer_leaves_the_files_and_a_note(run: RunFolder) -> None:
    submit(run, "train", "7", "a", "b")
    record(run.attempts("a", "train"), "started", job="7_0")
    write_json(run.done("b", "train"), {"at": AFTER})
    for error in (ClusterError("squeue: not found"), CommandFailed("squeue", 1, "down")):
        state = states(run.path, Told(squeue=error))
        assert words(state) == {"a/train": "running", "b/train": "done"}
        assert "from the run's own files (squeue: " in state.notes[0]
        assert not state.asked


def test_accounting_that_is_off_is_noted(run: RunFolder) -> None:
    submit(run, "train", "55742568", "a")
    assert "sacct does not answer" in states(run.path, Told(squeue=QUEUE)).notes[0]


OTHER_FORM = "7_0|RUNNING|\x1b[2J of another form\n"


def test_a_table_of_another_form_is_told_in_one_line(run: RunFolder) -> None:
    submit(run, "train", "7", "a")
    notes = states(run.path, Told(squeue=OTHER_FORM, sacct=OTHER_FORM)).notes
    assert [note.partition(" ")[0] for note in notes] == ["squeue", "sacct"]
    assert "no line of the form that hsd asks for; the first: '7_0|RUNNING|\\x1b[2J" in notes[0]
    welcome = "Welcome to the cluster\n"
    assert states(run.path, Told(squeue=welcome, sacct=welcome)).notes == ()


def test_a_table_that_hsd_cannot_read_is_no_empty_queue(run: RunFolder) -> None:
    submit(run, "train", "7", "a")
    assert not states(run.path, Told(squeue=OTHER_FORM)).asked
    assert states(run.path, Told(squeue="")).asked


def test_a_local_run_is_known_from_its_files_alone(run: RunFolder) -> None:
    append_submission(
        run.path, Submitted(1, "train", "train", "local1-train", ("a", "b"), AT, 0, 60)
    )
    record(run.attempts("a", "train"), "started", job="local1-train_0")
    record(run.attempts("a", "train"), "ended", job="local1-train_0", code=11)
    record(run.attempts("b", "train"), "started", job="local1-train_1")
    write_json(run.done("c", "train"), {"at": AFTER})
    assert slurm_of(run) is None
    state = states(run.path, None)
    assert words(state) == {"a/train": "failed", "b/train": "running", "c/train": "done"}


def test_a_run_with_jobs_is_asked_of_slurm_with_what_its_profile_passes(run: RunFolder) -> None:
    submit(run, "train", "7", "a")
    write_json(run.run_json, {"cells": [], "profile": {"env": {"pass": ["SLURM_HINT"]}}})
    assert slurm_of(run) == Slurm(keep=("SLURM_HINT",))
