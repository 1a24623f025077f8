"""What does not fit into the queue of a real SLURM: submitted in parts, until all of it is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import pytest
from slurm_runs import Bench

from hsd.report.predictions import PREDICTIONS
from slurm.run import submissions

pytestmark = [pytest.mark.slurm, pytest.mark.model, pytest.mark.e2e]
LIMIT = f"MaxSubmitJobs of {getuser()} with account hsd"


@contextmanager
def at_most(bench: Bench, jobs: int) -> Iterator[None]:
    """Within the block this user has no more jobs in the queue at once."""
    if not bench.cluster.has_accounting:
        pytest.skip("limits need accounting")
    whose = ("modify", "user", getuser(), "where", "account=hsd", "set")
    bench.cluster.call("sacctmgr", "-i", *whose, f"maxsubmitjobs={jobs}")
    try:
        yield
    finally:
        bench.cluster.call("sacctmgr", "-i", *whose, "maxsubmitjobs=-1")


def parts(bench: Bench, run: str) -> list[int]:
    """Return how many jobs each submission of a run had."""
    made = submissions.read_submissions(bench.folder / "runs" / run)
    numbers = sorted({one.number for one in made})
    return [sum(len(one.cells) for one in made if one.number == number) for number in numbers]


def test_all_parts_of_a_sweep_complete_and_the_comparison_is_of_all_cells(bench: Bench) -> None:
    bench.preset(epochs=1)
    sweep, profile = bench.sweep("parts", '"lora.rank" = [2, 4]'), bench.profile()
    with at_most(bench, 3):  # a training, an evaluation and a comparison
        said = bench.hsd("run", sweep, "--cluster", profile)
        assert f"1 cell not submitted yet: {LIMIT} is 3, and 0 jobs" in said
        first = bench.wait_over("parts")
        assert first.pop(("all", "compare")) == "done"
        assert len(first) == 2
        assert "1 cell is not submitted yet." in bench.hsd("status", "parts")
        assert "1 to do" in bench.hsd("run", sweep, "--cluster", profile)
        states = bench.wait_over("parts")
    assert set(states.values()) == {"done"}
    assert len(states) == 5
    assert parts(bench, "parts") == [3, 3]
    page = (bench.folder / "runs/parts/comparison.md").read_text()
    assert all(f"| tiny-rank={rank} |" in page for rank in (2, 4))
    assert "Everything is done" in bench.hsd("run", sweep, "--cluster", profile)


def test_shards_in_parts_give_one_evaluation(bench: Bench) -> None:
    output = Path("in_parts")
    with at_most(bench, 2):
        said = bench.hsd(
            "submit", "evaluate", "--shards", "3", "--name", "in_parts", "--cluster",
            bench.profile(), "--model-name=llama", "--data-file=test.jsonl",
            f"--output-dir={output}", "--prompt-template=baseline", "--set=model.device=cpu",
        )  # fmt: skip
        assert f"1 shard not submitted yet: {LIMIT} is 2, and 0 jobs" in said
        bench.wait_over("in_parts")
        assert not list((bench.folder / output).glob(f"run_*/{PREDICTIONS}"))
        bench.hsd("resubmit", "in_parts")
        assert set(bench.wait_over("in_parts").values()) == {"done"}
    assert parts(bench, "in_parts") == [2, 1]
    (whole,) = (bench.folder / output).glob(f"run_*/{PREDICTIONS}")
    assert len(whole.read_text().splitlines()) == 30
