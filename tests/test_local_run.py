"""`hsd run SWEEP --local` with a tiny base: the same plan, element by element on this machine."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_runs
from waiting import until

from hsd.io.json_reader import read_json
from slurm.run import submissions
from slurm.submit.snapshot import running_code, write_snapshot

RUN = Path("runs/pair")
SWEEP = """
name = "pair"
presets = ["tiny.json"]
baseline = false
[grid]
{grid}
[evaluate]
sets = ["test.jsonl", "more.jsonl"]
set = {{ batch_size = 8 }}
"""
GOOD, BAD = "tiny-target_modules=q_proj", "tiny-target_modules=nope"

pytestmark = [pytest.mark.model, pytest.mark.e2e]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the code: a cell is refused when the checkout changes between two runs."""
    return write_snapshot(running_code(), tmp_path_factory.mktemp("code"))


def bench(base: Path, grid: str = "", **training: Any) -> None:
    """Write a sweep, its preset and its rows into the current folder."""
    small_runs.jsonl(Path("test.jsonl"), small_runs.posts(12, first=2000))
    small_runs.jsonl(Path("more.jsonl"), small_runs.posts(6, first=3000))
    config = small_runs.config(base, Path.cwd(), training=training)
    tree = config.model_dump(mode="json")
    tree.pop("output_dir")
    Path("tiny.json").write_text(json.dumps(tree))
    Path("pair.toml").write_text(SWEEP.format(grid=grid))


def start(code: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "run", "pair.toml", "--local"],
        env=os.environ | {"PYTHONPATH": str(code), "TORCHDYNAMO_DISABLE": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = program.communicate(timeout=600)
    return program.returncode, out, err


def said(out: str) -> list[str]:
    """Return how each element ended, in order."""
    return [line for line in out.splitlines() if line.endswith(("done", "failed", "with code 11"))]


def events(cell: str, stage: str = "train") -> list[str]:
    file = RUN / "cells" / cell / "attempts" / f"{stage}.jsonl"
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


def test_a_cell_that_fails_keeps_the_others_from_nothing(tiny_llama: Path, code: Path) -> None:
    grid = '"lora.target_modules" = [["nope"], ["q_proj"]]'
    bench(tiny_llama, grid, epochs=1)

    status, out, err = ended(start(code))

    assert status == 5, out + err
    assert said(out) == [
        f"train {BAD}: failed with code 11",
        f"train {GOOD}: done",
        f"evaluate {BAD}: not run, a job before it failed",
        f"evaluate {GOOD}: done",
        "compare all: done",
    ]
    assert err == (
        f"Error: 1 of 2 cells failed; first: train of {BAD}. "
        f"Why: hsd logs pair/{BAD}/train --first-error\n"
    )
    page = (RUN / "comparison.md").read_text()
    assert f"| {GOOD} | - |" in page
    assert f"- {BAD}: train failed" in page
    assert "mean over sets" in page
    assert len(list(RUN.glob(f"cells/{GOOD}/evaluate/*/run_*/done.json"))) == 2
    (log,) = RUN.glob("submissions/001/train/*_0_0_log.err")
    assert "'nope' is no linear layer" in log.read_text()
    everything = [RUN, *RUN.rglob("*")]
    assert not [p for p in everything if stat.S_IMODE(p.stat().st_mode) & 0o077]

    status, out, err = ended(start(code))  # only what is left

    assert status == 5, out + err
    assert said(out) == [
        f"train {BAD}: failed with code 11",
        f"evaluate {BAD}: not run, a job before it failed",
        "compare all: done",
    ]
    assert f"1 done, skipped: {GOOD}" in out
    assert events(GOOD) == ["started", "ended"]
    assert {one.number for one in submissions.read_submissions(RUN)} == {1, 2}


def test_ctrl_c_stops_where_the_same_command_goes_on(tiny_llama: Path, code: Path) -> None:
    bench(tiny_llama, epochs=30, save_every_steps=10)
    metrics = RUN / "cells/tiny/train/metrics.jsonl"
    program = start(code)
    until(lambda: metrics.exists() and metrics.read_text().count("\n") > 5, "steps", 300)

    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to all of them
    status, out, err = ended(program)

    assert status == 75, out + err
    assert err.strip() == "stopped in train of tiny; the same command goes on from there."
    assert events("tiny") == ["started", "signalled", "stopped"]
    assert not (RUN / "cells/tiny/train.done.json").exists()

    status, out, err = ended(start(code))

    assert status == 0, out + err
    assert said(out) == ["train tiny: done", "evaluate tiny: done", "compare all: done"]
    starts = read_json(RUN / "cells/tiny/train/manifest.json")["starts"]
    assert starts[1]["resumed_from"]
    assert (RUN / "cells/tiny/evaluate").exists()

    status, out, err = ended(start(code))
    assert status == 0, out + err
    assert "Everything is done: hsd status pair" in out
