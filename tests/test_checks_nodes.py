"""A run may exclude nodes, but not so many that no job could start: said with numbers."""

from pathlib import Path

import pytest
import sweeps
from slurm_programs import write_programs

from slurm.check import checks_queue
from slurm.check.checks_nodes import NODE_FORMAT, PartitionNode, partition_nodes, too_few
from slurm.cluster.client import Slurm
from slurm.submit.work import prepared

REFUSED = "Requested node configuration is not available"
SINFO = """
gpu*|gpu1|idle
low|gpu1|idle
gpu*|gpu2|mixed
gpu*|gpu3|drained
gpu*|gpu4|down*
"""


def nodes(*states: str) -> list[PartitionNode]:
    return [
        PartitionNode("gpu", True, f"gpu{at}", state) for at, state in enumerate(states, start=1)
    ]


def sentence(needed: int, *states: str, excluded: str) -> str:
    found = too_few("sbatch train", needed, nodes(*states), excluded.split(), "pair")
    return found.sentence if found else ""


def test_all_nodes_of_a_partition_cannot_be_excluded() -> None:
    assert sentence(1, "idle", "idle", excluded="gpu1 gpu2") == (
        "sbatch train: 2 of the 2 nodes of partition gpu are excluded, and a job needs 1 node "
        "(`hsd resubmit pair --allow-node NODE` uses one again; see exclude in the profile)"
    )


def test_a_job_of_two_nodes_needs_two_that_are_not_excluded() -> None:
    assert "2 of the 3 nodes" in sentence(2, "idle", "idle", "idle", excluded="gpu1 gpu2")
    assert sentence(1, "idle", "idle", "idle", excluded="gpu1 gpu2") == ""


@pytest.mark.parametrize("state", ["drained", "draining", "down*", "idle*", "fail"])
def test_where_the_others_are_drained_or_down_jobs_wait_and_are_not_refused(state: str) -> None:
    found = too_few("sbatch train", 1, nodes("idle", state), ["gpu1"], "pair")
    assert found is not None
    assert found.ok is None
    assert found.line.endswith(f"and gpu2 is {state}: jobs wait until it is back")


def test_a_node_that_is_excluded_and_drained_takes_no_other_away() -> None:
    assert sentence(1, "drained", "allocated", excluded="gpu1") == ""


def test_of_an_unknown_partition_nothing_is_said() -> None:
    assert too_few("sbatch train", 1, [], ["gpu1"], "pair") is None


def test_nodes_of_a_stage_are_those_of_its_partition(tmp_path: Path) -> None:
    profile = sweeps.cluster(tmp_path, slurm={"exclude": "gpu1"})
    plan = prepared(sweeps.work(tmp_path, profile=profile), sweeps.found(
        sweeps.work(tmp_path, profile=profile), tmp_path).left.plan).plan  # fmt: skip
    assert profile.slurm is not None
    found = partition_nodes(SINFO, plan.stages[0], profile.slurm)
    assert [(one.name, one.works) for one in found] == [
        ("gpu1", True), ("gpu2", True), ("gpu3", False), ("gpu4", False)
    ]  # fmt: skip
    assert NODE_FORMAT.count("|") == 2


@pytest.mark.parametrize(("others", "ok"), [("drained", None), ("", False)])
def test_what_sbatch_refuses_for_excluded_nodes_is_said_by_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: str, ok: bool | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    write_programs(
        tmp_path / "bin",
        tmp_path / "ran",
        sbatch=f"echo 'allocation failure: {REFUSED}' >&2; exit 1",
        sinfo=f"echo 'gpu*|gpu1|idle'; [ -z '{others}' ] || echo 'gpu*|gpu2|{others}'",
        scontrol="echo gpu1",
    )
    work = sweeps.work(tmp_path, profile=sweeps.cluster(tmp_path, slurm={"exclude": "gpu1"}))
    made = prepared(work, sweeps.found(work, tmp_path).left.plan)
    (check,) = checks_queue.tested("train", made.plan.stages[0], made, Slurm(), tmp_path)
    assert check.ok is ok
    assert "1 of the" in check.line
