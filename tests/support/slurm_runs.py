"""Sweeps of a tiny model on a real SLURM: made, submitted with `hsd`, watched and interrupted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import small_runs
from slurm_cluster import Cluster
from waiting import T, until

from slurm.cluster.client import Slurm
from slurm.run import submissions
from slurm.watch.overview import overview

CANARY = "hf_CANARYcanaryCANARYcanary00"
"""A token that must be found nowhere."""
PATIENCE_S = 600.0
"""How long a test waits for what must come; a slow machine is no bug."""
PROFILE = """
shared_root = "runs"
[slurm]
account = "hsd"
partition = "gpu"
gpu_type = "a100"
{slurm}
[stages.train]
gpus = 1
cpus = 2
memory_gb = 2
time_min = 30
{train}
[stages.evaluate]
gpus = 1
cpus = 2
memory_gb = 2
time_min = 30
[stages.compare]
memory_gb = 1
[env.set]
ACCELERATE_USE_CPU = "true"
OMP_NUM_THREADS = "1"
TORCHDYNAMO_DISABLE = "1"
"""
SWEEP = """
name = "{name}"
presets = ["tiny.json"]
baseline = {baseline}
[grid]
{grid}
[evaluate]
sets = ["test.jsonl"]
set = {{ batch_size = 8 }}
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a tiny base, rows, a preset, and `hsd` to use them with."""

    folder: Path
    cluster: Cluster

    def profile(self, name: str = "here", slurm: str = "", train: str = "") -> str:
        """Write a profile and return its path as --cluster takes it."""
        file = self.folder / f"{name}.toml"
        file.write_text(PROFILE.format(slurm=slurm, train=train))
        return str(file)

    def sweep(self, name: str, grid: str = "", baseline: bool = False) -> str:
        """Write a sweep and return its path."""
        file = self.folder / f"{name}_sweep.toml"
        file.write_text(SWEEP.format(name=name, grid=grid, baseline=str(baseline).lower()))
        return str(file)

    def preset(self, **training: Any) -> None:
        """Write the preset that every sweep here trains."""
        config = small_runs.config(self.folder / "llama", self.folder, training=training)
        tree = config.model_dump(mode="json")
        tree.pop("output_dir")
        (self.folder / "tiny.json").write_text(json.dumps(tree))

    def hsd(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run `hsd` and return what it printed; its exit code must be `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "jobs.cli", *arguments],
            cwd=self.folder,
            env=os.environ | self.cluster.env | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def train(self, run: str, profile: str) -> None:
        """Submit the preset's training alone: what follows one is the sweeps' tests' business."""
        output = self.folder / f"runs/{run}/cells/tiny/train"
        self.hsd(
            "submit", "train", "--name", run, "--cluster", profile,
            "--config_file", "tiny.json", "--output_dir", str(output),
        )  # fmt: skip

    def states(self, run: str) -> dict[tuple[str, str], str]:
        """Return the state of each (cell, stage) of a run, as `hsd status` sees it."""
        seen = overview(self.folder / "runs" / run, Slurm(), run, run)
        return {(line.element.cell, line.stage): line.element.state for line in seen.lines}

    def json(self, *arguments: str, **environment: str) -> Any:
        """Run `hsd ... --json` and return what it printed."""
        return json.loads(self.hsd(*arguments, "--json", code=0, **environment))

    def wait_over(self, run: str) -> dict[tuple[str, str], str]:
        """Wait until nothing of a run is live; return the states."""
        live = {"waiting", "held", "running", "stopping", "requeued"}

        def over() -> dict[tuple[str, str], str] | None:
            states = self.states(run)
            return None if live & set(states.values()) else states

        return self.until(over, f"run {run} to end")

    def until(self, condition: Callable[[], T | Literal[False] | None], what: str) -> T:
        """Return the first true value of a condition."""
        return until(condition, what, PATIENCE_S, every=0.3)

    def events(self, run: str, stage: str = "train") -> list[dict[str, Any]]:
        """Return what the supervisor wrote of a stage of the one cell that has it."""
        for file in (self.folder / "runs" / run).glob(f"cells/*/attempts/{stage}.jsonl"):
            return [json.loads(line) for line in file.read_text().splitlines()]
        return []

    def job(self, run: str, stage: str) -> str:
        """Return the array job of a stage's newest submission."""
        lines = (self.folder / f"runs/{run}/submissions.jsonl").read_text().splitlines()
        found = [one for one in map(json.loads, lines) if one.get("stage") == stage]
        return str(found[-1]["job_id"])

    def steps(self, run: str, cell: str = "tiny") -> int:
        """Return the last step that a training has logged."""
        file = self.folder / f"runs/{run}/cells/{cell}/train/metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return max((json.loads(line).get("step", 0) for line in lines), default=0)

    @contextmanager
    def held(self, run: str, ready: Callable[[], Any]) -> Iterator[None]:
        """Within the block, the processes of a run are stopped where `ready` was found true.

        So that it makes no difference how fast they are: a signal that comes meanwhile is theirs
        when they go on.
        """
        until(ready, f"{run} to be under way", PATIENCE_S, every=0.02)
        found = subprocess.run(
            ["pgrep", "-f", "--", rf"-m jobs\.(train|evaluate) .*{self.folder}/runs/{run}/"],
            capture_output=True,
            text=True,
            check=True,
        )
        pids = [int(pid) for pid in found.stdout.split()]
        _tell(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _tell(pids, signal.SIGCONT)

    def learned(self, run: str, steps: int = 25) -> Callable[[], bool]:
        """Return what is true once a training has taken so many steps."""
        return lambda: self.steps(run) >= steps

    def words(self, run: str, stage: str = "train") -> list[str]:
        """Return the supervisor's events by their names."""
        return [event["event"] for event in self.events(run, stage)]

    def starts(self, run: str) -> list[dict[str, Any]]:
        """Return the starts that a training's manifest tells of."""
        file = self.folder / f"runs/{run}/cells/tiny/train/manifest.json"
        return list(json.loads(file.read_text())["starts"])

    def undisturbed(self, name: str, ranks: int = 1) -> Path:
        """Train the preset without SLURM and return the run's folder."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
        subprocess.run(
            [
                sys.executable, *(launcher if ranks > 1 else []), "-m", "jobs.train",
                "--config_file", "tiny.json", "--output_dir", name,
            ],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TORCHDYNAMO_DISABLE": "1"},
            check=True,
            capture_output=True,
        )  # fmt: skip
        return self.folder / name

    def adapter(self, run: str, cell: str = "tiny") -> bytes:
        """Return the trained adapter's bytes."""
        return small_runs.adapter_bytes(self.folder / f"runs/{run}/cells/{cell}/train")


ROOT = Path(__file__).parents[2]


def _tell(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture(scope="module")
def bench(
    cluster: Cluster, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Give a folder that all nodes see; whatever is still queued at the end is cancelled."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "llama").symlink_to(tiny_llama)
    small_runs.jsonl(folder / "test.jsonl", small_runs.posts(30, first=2000))
    made = Bench(folder, cluster)
    made.preset()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.env.items():
            patch.setenv(name, value)
        yield made
        for run in (folder / "runs").glob("*"):
            if jobs := {one.job_id for one in submissions.read_submissions(run)}:
                cluster.call("scancel", *jobs)
