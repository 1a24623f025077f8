"""How long hsd itself takes over a large sweep: planning, submission, status and cancellation.

    . /tmp/hsd-slurm/env.sh
    python -m benchmarks.large_sweep --cells 1000 --array 200 --account hsd

prints wall and CPU seconds of each command as JSON. It needs a SLURM, such as that of
tests/slurm_testbed. Its jobs may begin a day from now, and are cancelled at the end: none runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
PROFILE = """
shared_root = "runs"
[slurm]
max_array_size = {array}
{account}
[slurm.extra]
begin = "now+1day"
"""
SWEEP = """
name = "large"
presets = ["default"]
grid = {{ seed = {seeds} }}
model = {{ name = "base" }}
data = {{ train_file = "embedded", validation_file = "embedded" }}
evaluate = {{ sets = ["embedded"] }}
"""
COMMANDS = {
    "dry run": ("run", "large.toml", "--cluster", "here.toml", "--dry-run"),
    "run": ("run", "large.toml", "--cluster", "here.toml"),
    "run again": ("run", "large.toml", "--cluster", "here.toml"),
    "status": ("status", "runs/large"),
    "status --json": ("status", "runs/large", "--json"),
    "cancel": ("cancel", "runs/large"),
}


def timed(folder: Path, *arguments: str) -> dict[str, float | int]:
    """Run `hsd` and return its exit code, and what it took with all that it called."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "HOME": str(folder)},
        capture_output=True,
        check=False,
    )
    after = os.times()
    cpu = sum(
        getattr(after, name) - getattr(before, name)
        for name in ("children_user", "children_system")
    )
    wall = time.monotonic() - began
    return {"code": done.returncode, "wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}


@click.command()
@click.option("--cells", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--array", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--account", default="", help="The account that pays for jobs.")
def main(cells: int, array: int, account: str) -> None:
    """Time every command on a sweep of so many cells, in arrays of so many."""
    with tempfile.TemporaryDirectory(prefix="hsd-large-") as name:
        folder = Path(name)
        (folder / "base").mkdir()
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            (folder / "base" / file).write_text("{}")
        pays = f'account = "{account}"' if account else ""
        (folder / "here.toml").write_text(PROFILE.format(array=array, account=pays))
        (folder / "large.toml").write_text(SWEEP.format(seeds=list(range(cells))))
        for what, arguments in COMMANDS.items():
            click.echo(json.dumps({"command": what, **timed(folder, *arguments)}))


if __name__ == "__main__":
    main()
