"""Shards of one evaluation on a real SLURM: one is killed, and resubmitted alone."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import small_runs
from slurm_runs import Bench

from hsd.config.evaluate_config import EvalConfig
from hsd.report.predictions import PREDICTIONS

pytestmark = [pytest.mark.slurm, pytest.mark.model, pytest.mark.e2e]


def asked(output: Path) -> tuple[str, ...]:
    return (
        "evaluate", "--model-name=llama", "--data-file=many.jsonl", f"--output-dir={output}",
        "--prompt-template=baseline", "--batch-size=2", "--mode=score", "--set=model.device=cpu",
    )  # fmt: skip


def config(folder: Path) -> EvalConfig:
    """Return the same evaluation for this process."""
    given = {
        "model": {"name": "llama", "device": "cpu"},
        "data_file": "many.jsonl",
        "output_dir": folder / "alone",
        "prompt_template": "baseline",
        "batch_size": 2,
        "mode": "score",
    }
    return EvalConfig.model_validate(given)


def found(command: str) -> int | None:
    """Return the process whose command line fits; None while there is none."""
    done = subprocess.run(
        ["pgrep", "-o", "-f", "--", command], capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.stdout.strip() else None


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / PREDICTIONS).read_text().splitlines()
    return [{**json.loads(line), "response_time": 0} for line in lines]


def test_a_killed_shard_is_resubmitted_alone_and_the_run_is_that_of_one_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.evaluation.evaluate import evaluate

    monkeypatch.chdir(bench.folder)
    small_runs.jsonl(bench.folder / "many.jsonl", small_runs.posts(24, first=3000))
    profile = bench.profile("shards", 'requeue = "none"')
    output = bench.folder / "sharded"
    bench.hsd("submit", *asked(output), "--shards", "2", "--name", "shards", "--cluster", profile)
    command = rf"^\S+ -m jobs\.evaluate .*{output} .*--shard 1/2"
    pid = bench.until(lambda: found(command), "shard 1 to run")
    os.kill(pid, signal.SIGKILL)
    states = bench.wait_over("shards")
    assert states == {
        ("shard-0-of-2", "evaluate"): "done",
        ("shard-1-of-2", "evaluate"): "failed",
    }
    assert not list(output.glob(f"run_*/{PREDICTIONS}"))
    assert "1 of 2 shards done, 1 failed" in bench.hsd("status", "shards")

    said = bench.hsd("resubmit", "shards", "--failed")
    assert "1 to do: shard-1-of-2" in said
    assert set(bench.wait_over("shards").values()) == {"done"}
    (merged,) = output.glob("run_*")
    alone = evaluate(config(bench.folder))
    assert rows(merged) == rows(alone.folder)
    assert bench.json("cost", "shards")["attempts"] == 3
