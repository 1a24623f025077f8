"""A node whose disk really breaks, on a real SLURM: it is left out, and the cells run elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm_runs import Bench

pytestmark = [pytest.mark.slurm, pytest.mark.model, pytest.mark.e2e]


def local_disks(bench: Bench, **parts: str) -> str:
    """Return a profile whose jobs have their caches on each node's own disk."""
    file = Path(bench.profile(**parts))
    file.write_text(f'node_local = "{bench.cluster.run}/local"\n{file.read_text()}')
    return str(file)


@contextmanager
def broken(bench: Bench, node: str) -> Iterator[None]:
    """Within the block a node's own disk is read-only, and SLURM knows nothing of it."""
    bench.cluster.node("readonly", node)
    try:
        yield
    finally:
        bench.cluster.node("writable", node)


@contextmanager
def drained(bench: Bench, node: str) -> Iterator[None]:
    """Within the block SLURM starts nothing on a node."""
    bench.cluster.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=disk")
    try:
        yield
    finally:
        bench.cluster.call("scontrol", "update", f"nodename={node}", "state=resume")


def test_a_node_on_which_two_cells_failed_is_left_out_until_it_is_allowed_again(
    bench: Bench,
) -> None:
    if not (bench.cluster.run / "cg").exists():
        pytest.skip("nodes without name spaces share their disk")
    bench.preset(epochs=1)
    node = bench.cluster.nodes[0]  # the first that SLURM takes while all are idle
    sweep = bench.sweep("twice", '"lora.rank" = [2, 4]')
    with broken(bench, node):
        bench.hsd("run", sweep, "--cluster", local_disks(bench, name="local_disks"))
        first = bench.wait_over("twice")
        assert first["tiny-rank=2", "train"] == first["tiny-rank=4", "train"] == "failed"
        assert f"caches could be made on the disk of {node}" in " ".join(
            bench.hsd("status", "twice").split()
        )
        with drained(bench, node):  # as its own health check does, meanwhile
            said = bench.hsd("resubmit", "twice", "--failed")
        assert f"Node {node} is excluded: " in said
        assert "tiny-rank=2, tiny-rank=4" in said
        assert set(bench.wait_over("twice").values()) == {"done"}
        shown = " ".join(bench.hsd("status", "twice").split())
        assert f"`hsd resubmit twice --allow-node {node}` uses it again" in shown
    run = bench.folder / "runs/twice"
    assert node in (run / "nodes.jsonl").read_text()
    for stage in ("train", "evaluate", "compare"):
        assert (
            f"#SBATCH --exclude={node}" in (run / f"submissions/002/{stage}/script.sh").read_text()
        )
        jobs = bench.cluster.call(
            "sacct", "-n", "-X", "-j", bench.job("twice", stage), "-o", "NodeList"
        )
        assert node not in jobs
    bench.hsd("resubmit", "twice", "--allow-node", node)
    assert "is excluded" not in bench.hsd("status", "twice")


def test_a_run_that_would_exclude_every_node_is_refused_with_numbers(bench: Bench) -> None:
    bench.preset()
    nodes = ",".join(bench.cluster.nodes)
    profile = bench.profile("nowhere", f'exclude = "{nodes}"')
    refused = bench.hsd("run", bench.sweep("nowhere"), "--cluster", profile, code=3)
    assert "4 of the 4 nodes of partition gpu are excluded" in refused


def test_where_the_only_node_that_is_left_is_drained_jobs_wait_for_it(bench: Bench) -> None:
    bench.preset()
    *others, last = bench.cluster.nodes
    profile = bench.profile("last", f'exclude = "{",".join(others)}"')
    with drained(bench, last):
        said = bench.hsd("run", bench.sweep("last"), "--cluster", profile)
        bench.hsd("cancel", "last")
    assert f"3 of the 4 nodes of partition gpu are excluded, and {last} is drained" in said
