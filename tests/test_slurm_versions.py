"""What hsd reads is the same on every SLURM, by the recordings in tests/recorded."""

import re
from pathlib import Path

import pytest

from slurm.check.checks_queue import partitions
from slurm.cluster.cluster_facts import nodes_of, partitions_of
from slurm.cluster.parse import Accounted, Queued, exit_of, parse_accounting, parse_queue
from slurm.node.requeue import was_cancelled
from slurm.node.shown_jobs import shown_jobs
from slurm.run.element_state import NEVER, ElementFacts, element
from slurm.run.submissions import Submitted

RECORDED = Path(__file__).parent / "recorded"
EVERY = [folder.name for folder in sorted(RECORDED.iterdir()) if folder.is_dir()]
WHOLE = ["22.05", "24.11"]
ACCOUNTED = [*WHOLE, "25.11"]
CODES = {
    "done": 0, "code3": 3, "code75": 75, "code130": 130,
    "killed": 137, "terminated": 143, "crashed": 139,
}  # fmt: skip


def recorded(version: str, name: str) -> str:
    return (RECORDED / version / f"{name}.txt").read_text()


def accounted(version: str) -> dict[str, tuple[Accounted, ...]]:
    """Return the attempts by a job's name and index, as ids differ between recordings."""
    found = parse_accounting(recorded(version, "sacct"))
    return {told[-1].name + _index(job): told for job, told in found.items()}


def queued(version: str) -> dict[str, Queued]:
    return {
        one.name + _index(job): one for job, one in parse_queue(recorded(version, "squeue")).items()
    }


def _index(job: str) -> str:
    return "".join(re.findall(r"_\d+$", job))


def told(name: str, version: str, in_queue: bool) -> tuple[str, str]:
    """Return hsd's word and reason for a job that ended without a word of its own."""
    known = ElementFacts(
        Submitted(1, "train", "train", "1", ("a",), "2026", 2, 60),
        queued=queued(version)[name] if in_queue else None,
        accounted=accounted(version)[name],
        asked=True,
    )
    one = element("train", "a", known)
    return one.state, one.reason


def test_there_are_recordings_of_all_versions_that_differ() -> None:
    assert EVERY == ["22.05", "24.11", "25.05", "25.11"]


@pytest.mark.parametrize("version", ACCOUNTED)
def test_exit_codes_are_those_of_the_step_on_every_version(version: str) -> None:
    found = accounted(version)
    assert {name: found[name][-1].code for name in CODES} == CODES
    assert [found[name][-1].signal for name in ("killed", "by_script")] == [0, 9]


@pytest.mark.parametrize("version", ACCOUNTED)
def test_attempts_gpus_and_who_cancelled_are_read_on_every_version(version: str) -> None:
    found = accounted(version)
    assert [one.state for one in found["requeued"]][0] == "REQUEUED"
    assert len(found["requeued"]) == 2
    assert found["cancelled"][0].by_user
    assert found["after_1"][0].start == ""
    assert (found["done"][0].gpus, found["never"][0].gpus) == (2, None)
    assert {f"waits_{i}" for i in range(5)} <= found.keys()


@pytest.mark.parametrize("version", WHOLE)
def test_elements_and_reasons_are_read_from_squeue_on_every_version(version: str) -> None:
    found = queued(version)
    assert found["waits_3"].reason == "JobHeldUser"
    assert found["never"].reason == found["after_1"].reason == NEVER
    assert (found["running"].limit_s, found["running"].state) == (86400, "RUNNING")
    assert found["running"].nodes.startswith("hsd-gpu")
    assert {one.comment for one in found.values()} == {"hsd-1", ""}


@pytest.mark.parametrize("version", WHOLE)
@pytest.mark.parametrize("in_queue", [True, False])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("code3", ("failed", "exit code 3")),
        ("killed", ("failed", "exit code 137 (SIGKILL)")),
        ("crashed", ("failed", "exit code 139 (SIGSEGV)")),
        ("cancelled", ("cancelled", "")),
        ("after_1", ("cancelled", NEVER)),
    ],
)
def test_an_end_has_the_same_words_on_every_version(
    name: str, expected: tuple[str, str], in_queue: bool, version: str
) -> None:
    assert told(name, version, in_queue) == expected


@pytest.mark.parametrize("version", EVERY)
def test_the_states_in_scontrol_are_slurm_s_own_on_every_version(version: str) -> None:
    shown = {one["JobName"]: one for one in shown_jobs(recorded(version, "scontrol"))}
    assert shown["done"]["JobState"] == "COMPLETED"
    assert shown["code3"]["JobState"] == "FAILED"
    assert (shown["running"]["JobState"], shown["running"]["Restarts"]) == ("RUNNING", "0")
    assert (shown["never"]["JobState"], shown["never"]["Reason"]) == ("PENDING", NEVER)
    assert not was_cancelled(shown["running"])


@pytest.mark.parametrize("version", WHOLE)
def test_nodes_and_partitions_are_read_on_every_version(version: str) -> None:
    nodes = {one.partition: one for one in nodes_of(recorded(version, "sinfo"))}
    assert (nodes["gpu"].gpu_type, nodes["gpu"].gpus, nodes["gpu"].limit_min) == ("a100", 4, None)
    assert [one.is_default for one in nodes.values()] == [True, False]
    assert partitions_of(recorded(version, "scontrol_partition"))["low"]["GraceTime"] == "10"
    assert [one.name for one in partitions(recorded(version, "sinfo_partitions"))] == ["gpu", "low"]


@pytest.mark.parametrize(
    ("told", "of_step", "expected"),
    [
        ("0:0", "0:0", (0, 0)),
        ("9:0", "9:0", (9, 0)),  # the program's own code
        ("9:0", "137:0", (137, 0)),  # before 25.11
        ("137:0", "137:0", (137, 0)),
        ("9:0", "0:9", (137, 0)),
        ("137:0", "0:9", (137, 0)),
        ("0:9", "0:0", (0, 9)),
        ("3:0", "137:0", (3, 0)),  # what the script made of it counts
        ("0:0", "128:0", (0, 0)),
        ("9:0", "", (9, 0)),
    ],
)
def test_a_code_above_128_is_not_taken_for_a_small_one(
    told: str, of_step: str, expected: tuple[int, int]
) -> None:
    assert exit_of(told, of_step) == expected
