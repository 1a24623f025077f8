"""A submission that is killed on a real SLURM: the next command leaves no job held, none twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ranks  # noqa: F401  (its server of processes starts early)
from slurm_cluster import Cluster
from slurm_runs import Bench

from benchmarks.kill.real_slurm import (
    Point,
    Queue,
    clear,
    prepare,
    strike,
    trial,
    undisturbed,
    write_shims,
)

pytestmark = [pytest.mark.slurm, pytest.mark.e2e]

HARDEST = (
    Point("an answer that was lost", 2, "late", "sbatch --parsable"),
    Point("jobs that are released already", 1, "after", "scontrol release"),
    Point("half of the line of the first job", 3, "torn"),
)


@pytest.fixture(scope="module")
def whole(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Queue]]:
    """Give a folder with a sweep, and what an undisturbed submission of it leaves in the queue."""
    work = tmp_path_factory.mktemp("kill")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.env.items():
            patch.setenv(name, value)
        prepare(work)
        yield work, undisturbed(work)[0]
        clear(work)


@pytest.mark.parametrize("point", HARDEST, ids=lambda point: point.label)
def test_killed_at_the_hardest_points_each_stage_is_queued_once_and_none_is_held(
    whole: tuple[Path, Queue], on_cluster: Cluster, point: Point
) -> None:
    work, queue = whole
    row, wrong = trial(work, point, queue)
    assert not wrong, row


@pytest.mark.model
def test_a_killed_sweep_trains_each_cell_once_and_evaluates_it_after(
    bench: Bench, tmp_path: Path
) -> None:
    bench.preset(epochs=1)
    write_shims(tmp_path)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    again = ("run", bench.sweep("killed"), "--cluster", bench.profile())
    for call, at in (("sbatch --parsable", 2), ("scancel", 1)):  # and once more while it is mended
        strike(tmp_path, Point("", at, "after", call))
        bench.hsd(*again, code=-9, PATH=path)
    bench.hsd(*again)
    assert set(bench.wait_over("killed").values()) == {"done"}
    assert bench.words("killed") == bench.words("killed", "evaluate") == ["started", "ended"]
    trained = bench.events("killed")[-1]["at"]
    assert trained <= bench.events("killed", "evaluate")[0]["at"]
    asked = ("squeue", "-h", "-o", "%j")  # the last job has done its work before SLURM ends it
    bench.until(lambda: "hsd-killed-" not in bench.cluster.call(*asked), "an empty queue")
