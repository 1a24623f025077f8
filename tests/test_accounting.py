"""GPU-hours: every attempt counts, and what is not known is not made up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hsd.io.files import write_json
from slurm.cluster.client import Slurm
from slurm.cluster.parse import parse_accounting
from slurm.node.events import append_line
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Submitted, append_submission
from slurm.watch.accounting import Used, costs, from_accounting, from_events

SACCT = """\
7_0|REQUEUED|0:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T02:00:00|3600|cpu=4,gres/gpu:a100=4,gres/gpu=4,node=1|gpu1||hsd-mine-train|
7_0|COMPLETED|0:0|0:0|BeginTime|2026-11-27T02:00:01|2026-11-27T02:02:00|2026-11-27T02:32:00|1800|cpu=4,gres/gpu:a100=4,gres/gpu=4,node=1|gpu1||hsd-mine-train|
7_1|FAILED|11:0|0:0|None|2026-11-27T01:00:00|2026-11-27T01:00:00|2026-11-27T01:30:00|1800|cpu=8,gres/gpu:a100=8,gres/gpu=8,node=2|gpu[1-2]||hsd-mine-train|
8_0|CANCELLED|0:0|0:0|Dependency|2026-11-27T01:00:00|None|2026-11-27T01:31:00|0||None assigned||hsd-mine-evaluate|
"""  # noqa: E501 - as it is printed


@dataclass(frozen=True)
class Told(Slurm):
    sacct: str | None = None

    def accounting(self, ids: Any) -> str | None:  # noqa: ARG002
        return self.sacct


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
    attempts = parse_accounting(SACCT)
    assert from_accounting(attempts["7_0"]) == Used(2, 5400, 6.0)
    assert from_accounting(attempts["7_1"]) == Used(1, 1800, 4.0)
    assert from_accounting(attempts["8_0"]) == Used()


def test_a_run_costs_what_its_cells_and_stages_do(run: RunFolder) -> None:
    found = costs(run.path, Told(sacct=SACCT))
    assert found.by_stage["a", "train"].gpu_hours == 6.0
    assert found.of_cell("b").gpu_hours == 4.0
    assert found.total.gpu_hours == sum(used.gpu_hours for used in found.by_stage.values()) == 10.0
    assert found.notes == ()


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
    assert from_events(events, "7_0", gpus=5) == Used(2, 24 * 60, 2.0)


def test_an_attempt_without_an_end_is_counted_but_not_timed() -> None:
    events = [event(0, "started"), event(20, "started"), event(32, "ended")]
    assert from_events(events, "7_0", gpus=5) == Used(2, 720, 1.0, unended=1)


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
