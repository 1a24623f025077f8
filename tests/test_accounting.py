"""GPU-hours: every attempt counts, and what is not known is not made up."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.io.files import write_json
from slurm.cluster.client import Slurm
from slurm.cluster.parse import Accounted, parse_accounting
from slurm.cluster.parse_steps import parse_steps
from slurm.node.events import append_line
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Submitted, append_submission
from slurm.watch.accounting import Used, costs
from slurm.watch.booked import stage_uses
from slurm.watch.losses import CAUSES, parts_of
from slurm.watch.paid_attempts import PaidAttempt, WorkDone, from_own_events, from_sacct

SACCT = """\
7_0|REQUEUED|0:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T02:00:00|3600|cpu=4,gres/gpu:a100=4,gres/gpu=4,node=1|gpu1||hsd-mine-train|
7_0|COMPLETED|0:0|0:0|BeginTime|2026-11-27T02:00:01|2026-11-27T02:02:00|2026-11-27T02:32:00|1800|cpu=4,gres/gpu:a100=4,gres/gpu=4,node=1|gpu1||hsd-mine-train|
7_1|FAILED|11:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T01:30:00|1800|cpu=8,gres/gpu:a100=8,gres/gpu=8,node=2|gpu[1-2]||hsd-mine-train|
8_0|CANCELLED|0:0|0:0|Dependency|2026-11-27T01:00:00|None|2026-11-27T01:31:00|0||None assigned||hsd-mine-evaluate|
"""  # noqa: E501 - as it is printed


@dataclass(frozen=True)
class Told(Slurm):
    sacct: str | None = None
    of_steps: str = ""

    def accounting(self, ids: Any) -> str | None:  # noqa: ARG002
        return self.sacct

    def steps(self, ids: Any) -> str:  # noqa: ARG002
        return self.of_steps


def event(minute: int, name: str, job: str = "7_0") -> dict[str, Any]:
    return {"at": f"2026-01-01T00:{minute:02d}:00+00:00", "event": name, "job": job}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "mine")
    write_json(folder.run_json, {"cells": [{"name": "a"}, {"name": "b"}]})
    for stage, job, cells in [("train", "7", ("a", "b")), ("evaluate", "8", ("a",))]:
        append_submission(folder.path, Submitted(1, stage, stage, job, cells, "2026", 4, 60))
    return folder


def test_gpus_of_all_nodes_times_the_time_of_every_attempt() -> None:
    found = {job: from_sacct(job, of, {}, ()) for job, of in parse_accounting(SACCT).items()}
    assert [(one.ended, one.elapsed_s, one.gpus) for one in found["7_0"]] == [
        ("requeued", 3600, 4), ("done", 1800, 4)
    ]  # fmt: skip
    assert [(one.ended, one.elapsed_s, one.gpus) for one in found["7_1"]] == [("failed", 1800, 8)]
    assert found["8_0"] == []


def test_a_run_costs_what_its_cells_and_stages_do(run: RunFolder) -> None:
    found = costs(run.path, Told(sacct=SACCT))
    assert found.by_stage["a", "train"].gpu_hours == 6.0
    assert found.of_cell("b").gpu_hours == 4.0
    assert found.total.gpu_hours == sum(used.gpu_hours for used in found.by_stage.values()) == 10.0
    assert found.notes == ("Requeued without a word of how far, so all of it is work: 1 attempt.",)


OF_BEFORE = SACCT.replace("2026-11-27T", "2019-11-27T")
OF_OTHERS = SACCT.replace("||hsd-", "|nobody-|hsd-")
OF_ANOTHER_NAME = SACCT.replace("hsd-mine-", "hsd-other-")
OF_A_NAMESAKE = "".join(f"{line}hsd-2\n" for line in SACCT.splitlines())


@pytest.mark.parametrize("rows", [OF_BEFORE, OF_OTHERS, OF_ANOTHER_NAME, OF_A_NAMESAKE])
def test_other_jobs_that_have_had_its_id_cost_a_run_nothing(rows: str, tmp_path: Path) -> None:
    at = "2026-11-26T00:00:00+00:00"  # days from 2019 in every zone
    one = Submitted(1, "train", "train", "7", ("a", "b"), at, 4, 60, comment="hsd-1")
    append_submission(tmp_path / "mine", one)
    assert costs(tmp_path / "mine", Told(sacct=rows + SACCT)).total == Used(3, 7200, 10.0)
    assert costs(tmp_path / "mine", Told(sacct=rows)).total == Used()


def test_a_table_of_another_form_is_noted_and_not_counted(run: RunFolder) -> None:
    found = costs(run.path, Told(sacct="7_0|COMPLETED|of another form\n"))
    assert found.total == Used()
    assert "sacct printed no line of the form that hsd asks for" in found.notes[0]


def test_all_submissions_of_a_cell_count(run: RunFolder) -> None:
    append_submission(run.path, Submitted(2, "train", "train", "9", ("b",), "2026", 4, 60))
    again = SACCT.replace("7_1|", "9_0|", 1) + SACCT
    assert costs(run.path, Told(sacct=again)).of_cell("b").gpu_hours == 8.0


def test_events_are_paired_from_each_start_to_its_end() -> None:
    events = [
        event(0, "started"),
        event(10, "signalled"),
        event(12, "requeued"),
        event(20, "started"),
        event(32, "ended"),
        event(40, "started", job="99_0"),
    ]
    found = from_own_events("7_0", events, gpus=5)
    assert [(one.ended, one.elapsed_s) for one in found] == [("requeued", 720), ("done", 720)]


def test_an_attempt_without_an_end_is_counted_but_not_timed() -> None:
    events = [event(0, "started"), event(20, "started"), event(32, "ended")]
    found = from_own_events("7_0", events, gpus=5)
    assert [(one.timed, one.elapsed_s) for one in found] == [(False, 0), (True, 720)]


@pytest.mark.parametrize("slurm", [Told(sacct=None), None])
def test_without_accounting_events_are_used_and_said_to_be(
    run: RunFolder, slurm: Slurm | None
) -> None:
    for one in (event(0, "started"), event(30, "ended"), event(40, "started")):
        append_line(run.attempts("a", "train"), one)
    found = costs(run.path, slurm)
    assert found.of_cell("a") == Used(2, 1800, 2.0, unended=1)
    assert found.notes == (
        "Timed by the run's own events, as sacct does not know them: 2 attempts.",
        "Without an end (running, or killed) and not in the hours: 1 attempt.",
    )


def test_what_was_never_begun_costs_nothing(run: RunFolder) -> None:
    assert costs(run.path, Told(sacct="")).total == Used()


# Where the hours went


STEPS = """\
7_0|2026-11-27T01:00:00|2026-11-27T00:59:30|2026-11-27T01:00:00|2026-11-27T02:00:00|01:00:03|
7_0.batch|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T02:00:01|00:00.500|12000K
7_0.0|2026-11-27T01:00:01|2026-11-27T01:00:01|2026-11-27T01:00:01|2026-11-27T02:00:00|59:59.500|2G
7_0|2026-11-27T02:00:01|2026-11-27T02:02:00|2026-11-27T02:02:00|2026-11-27T02:32:00|00:30:00|
7_0.extern|2026-11-27T02:02:00|2026-11-27T02:02:00|2026-11-27T02:02:00|2026-11-27T02:32:00|00:00:00|1M
7_0.0|2026-11-27T02:02:00|2026-11-27T02:02:00|2026-11-27T02:02:00|2026-11-27T02:32:00|1-00:30:00|3G
"""  # noqa: E501 - as it is printed


def worked(first: int, done: int, at: str) -> dict[str, Any]:
    return {"worked": {"first": first, "done": done, "first_at": at, "unit": "steps"}}


def local(at: str) -> str:
    """Return a time of the controller's zone as the node writes it."""
    return datetime.fromisoformat(at).astimezone(UTC).isoformat(timespec="seconds")


def told(at: str, name: str, job: str = "7_0", **facts: Any) -> dict[str, Any]:
    return {"at": local(f"2026-11-27T{at}"), "event": name, "job": job, **facts}


def test_steps_are_of_the_attempt_in_whose_time_they_ran() -> None:
    found = parse_steps(STEPS)
    first, second = found["7_0", "2026-11-27T01:00:00"], found["7_0", "2026-11-27T02:02:00"]
    assert (first.cpu_s, first.memory_b, first.waited_s) == (3600.0, 2 * 2**30, 30.0)
    assert (second.cpu_s, second.memory_b) == (86400.0 + 1800, 3 * 2**30)
    assert second.waited_s == 119.0  # from its requeue on


def test_what_a_requeued_attempt_did_after_its_checkpoint_is_done_again(run: RunFolder) -> None:
    first, second = local("2026-11-27T01:15:00"), local("2026-11-27T02:12:00")
    for line in (
        told("01:00:01", "started"),
        told("02:00:00", "requeued", **worked(0, 90, first)),
        told("02:02:01", "started"),
        told("02:32:00", "ended", code=0, **worked(60, 120, second)),
    ):
        append_line(run.attempts("a", "train"), line)
    found = costs(run.path, Told(sacct=SACCT, of_steps=STEPS))
    parts = parts_of(found.attempts["a", "train"])
    # 15 and 10 min of start-up, 30 of 90 steps in 45 min done again; 4 GPUs
    assert parts["start-up"].gpus == pytest.approx(4 * 25 / 60)
    assert parts["again"].gpus == pytest.approx(4 * 15 / 60)
    assert parts["work"].gpus == pytest.approx(4 * 50 / 60)
    assert found.causes()["failed"].gpus == 4.0  # of b, on eight GPUs for half an hour
    assert sum(part.gpus for part in found.causes().values()) == pytest.approx(10.0)
    assert found.waited_s("train") == pytest.approx(149.0)
    assert found.notes == ()


def test_a_killed_attempt_is_known_by_what_the_next_one_found(run: RunFolder) -> None:
    left = worked(0, 50, local("2026-11-27T01:30:00"))["worked"]
    for line in (
        told("01:00:01", "started"),  # its node died
        told("02:02:01", "started", found=left),
        told("02:32:00", "ended", code=0, **worked(25, 120, local("2026-11-27T02:02:00"))),
    ):
        append_line(run.attempts("a", "train"), line)
    parts = parts_of(costs(run.path, Told(sacct=SACCT)).attempts["a", "train"])
    assert parts["start-up"].jobs == pytest.approx(0.5)
    assert parts["again"].jobs == pytest.approx(0.25)


def test_a_failed_attempt_whose_checkpoint_was_used_has_lost_only_what_came_after() -> None:
    began = datetime(2026, 11, 27, tzinfo=UTC)
    failed = PaidAttempt("failed", began, 1000.0, 1, work=WorkDone(0, 100, began))
    later = began + timedelta(hours=1)
    resumed = PaidAttempt("done", later, 1000.0, 1, work=WorkDone(80, 180, later))
    assert parts_of([failed, resumed])["failed"].jobs == pytest.approx(200 / 3600)
    assert parts_of([failed])["failed"].jobs == pytest.approx(1000 / 3600)


@pytest.mark.parametrize(
    ("then", "how"), [("PENDING", "requeued"), ("CANCELLED", "failed"), (None, "failed")]
)
def test_an_attempt_on_a_node_that_failed_was_requeued_once_its_job_waits_again(
    then: str | None, how: str
) -> None:
    ran = Accounted(
        "7_0", "NODE_FAIL", submit="2026-01-01T00:00:00", start="2026-01-01T00:01:00", gpus=1
    )
    again = [Accounted("7_0", then, submit="2026-01-01T05:00:00")] if then else []
    (one,) = from_sacct("7_0", [ran, *again], {}, [])
    assert one.ended == how


def test_gpus_that_did_nothing_are_idle_once_the_start_up_is_taken_off() -> None:
    began = datetime(2026, 11, 27, tzinfo=UTC)
    first = WorkDone(0, 10, began + timedelta(seconds=100))
    parts = parts_of([PaidAttempt("done", began, 1000.0, 2, work=first, gpu_percent=60.0)])
    assert parts["start-up"].jobs == pytest.approx(100 / 3600)
    assert parts["idle"].gpus == pytest.approx(2 * 300 / 3600)
    assert parts["work"].gpus == pytest.approx(2 * 600 / 3600)


works = st.one_of(
    st.none(),
    st.builds(
        WorkDone, st.integers(0, 50), st.integers(0, 99),
        st.datetimes(datetime(2026, 11, 26), datetime(2026, 11, 29), timezones=st.just(UTC)),
    ),
)  # fmt: skip
paid = st.builds(
    PaidAttempt,
    ended=st.sampled_from(["done", "running", "requeued", "failed", "cancelled"]),
    began=st.datetimes(datetime(2026, 11, 27), datetime(2026, 11, 28), timezones=st.just(UTC)),
    elapsed_s=st.floats(0, 1e6),
    gpus=st.integers(0, 16),
    work=works,
    found=works,
    gpu_percent=st.one_of(st.none(), st.floats(0, 100)),
)


@given(st.lists(paid, max_size=5))
def test_the_parts_add_up_to_the_whole_and_none_is_negative(attempts: list[PaidAttempt]) -> None:
    parts = parts_of(attempts)
    assert list(parts) == list(CAUSES)
    assert all(part.jobs >= -1e-9 and part.gpus >= -1e-9 for part in parts.values())
    whole = sum(one.elapsed_s for one in attempts) / 3600
    gpu_hours = sum(one.elapsed_s * one.gpus for one in attempts) / 3600
    assert sum(part.jobs for part in parts.values()) == pytest.approx(whole)
    assert sum(part.gpus for part in parts.values()) == pytest.approx(gpu_hours)


def test_an_element_that_sacct_tells_of_twice_counts_once(run: RunFolder) -> None:
    assert costs(run.path, Told(sacct=SACCT + SACCT)).total == Used(3, 7200, 10.0)
    append_submission(run.path, Submitted(2, "train", "train", "7", ("a", "b"), "2026", 4, 60))
    assert costs(run.path, Told(sacct=SACCT)).total == Used(3, 7200, 10.0)


def test_what_nobody_sampled_is_taken_from_the_steps(run: RunFolder) -> None:
    (run.path / "run.json").unlink()
    stages = {"train": {"gpus": 4, "cpus": 32, "memory_gb": 240}}
    write_json(run.run_json, {"cells": [{"name": "a"}], "profile": {"stages": stages}})
    found = costs(run.path, Told(sacct=SACCT, of_steps=STEPS))
    (use,) = stage_uses(run.path, found.attempts)
    assert (use.stage, use.attempts, use.by_sacct) == ("train", 2, 2)
    assert use.cores == pytest.approx(88200 / 1800)
    assert use.memory_gb == pytest.approx(3 * 2**30 / 1e9)
