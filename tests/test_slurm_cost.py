"""What was paid for on a real SLURM: one training is requeued, another fails."""

import json

import pytest
from slurm_runs import Bench

pytestmark = [pytest.mark.slurm, pytest.mark.model, pytest.mark.e2e]

GOOD, BAD = "tiny-target_modules=q_proj", "tiny-target_modules=nope"


def test_cost_tells_a_requeue_from_a_failure_and_its_parts_add_up(bench: Bench) -> None:
    bench.preset(epochs=40, save_every_steps=20)
    sweep = bench.sweep("paid", '"lora.target_modules" = [["q_proj"], ["nope"]]')
    bench.hsd("run", sweep, "--cluster", bench.profile())
    with bench.held("paid", lambda: bench.steps("paid", GOOD) >= 25):
        bench.cluster.call("scancel", "--signal=USR2", f"{bench.job('paid', 'train')}_0")
        events = bench.folder / f"runs/paid/cells/{GOOD}/attempts/train.jsonl"
        bench.until(lambda: "signalled" in events.read_text(), "the supervisor to be told")
    states = bench.wait_over("paid")
    assert (states[GOOD, "train"], states[BAD, "train"]) == ("done", "failed")

    lines = [json.loads(line) for line in events.read_text().splitlines()]
    first, second = (line["worked"] for line in lines if "worked" in line)
    assert first["done"] == second["first"] >= 25
    costs = bench.json("cost", "paid")
    train = next(one for one in costs["causes"] if one["stage"] == "train")
    whole = next(one for one in costs["causes"] if one["stage"] is None)
    assert train["startup"]["gpu_hours"] > 0
    assert train["work"]["gpu_hours"] > 0
    assert train["failed"]["gpu_hours"] > 0
    assert train["again"]["gpu_hours"] == 0  # it saved where it was stopped
    parts = [part["gpu_hours"] for part in whole.values() if isinstance(part, dict)]
    assert sum(parts) == pytest.approx(costs["gpu_hours"], abs=1e-3)
    assert costs["attempts"] == 5  # two of the good training, one bad, an evaluation, a comparison
    print(bench.hsd("cost", "paid", COLUMNS="80"))
