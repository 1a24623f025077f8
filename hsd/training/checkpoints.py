"""Checkpoints that are whole: a marker is written last, and only marked ones are resumed."""

import os
import re
import shutil
from pathlib import Path

from hsd.runs import write_json

MARKER = "complete.json"
NAME = re.compile(r"checkpoint-(\d+)")


def mark_complete(folder: Path, step: int) -> None:
    """Flush every file of a checkpoint to disk, then write its marker."""
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    write_json(folder / MARKER, {"step": step})


def newest_complete(run: Path) -> Path | None:
    """Return the checkpoint to resume from; None when there is no complete one."""
    complete = [folder for folder in _checkpoints(run) if (folder / MARKER).is_file()]
    return max(complete, key=step_of, default=None)


def remove_incomplete(run: Path) -> None:
    """Delete what a killed save left behind."""
    for folder in _checkpoints(run):
        if not (folder / MARKER).is_file():
            shutil.rmtree(folder)


def remove_old(run: Path, keep: int) -> None:
    """Delete all complete checkpoints but the `keep` newest.

    By their steps: the Trainer's own rotation goes by file times, which a copy changes.
    """
    complete = [folder for folder in _checkpoints(run) if (folder / MARKER).is_file()]
    for folder in sorted(complete, key=step_of)[:-keep]:
        (folder / MARKER).unlink()  # first: what a kill leaves of the rest is no checkpoint
        shutil.rmtree(folder)


def step_of(checkpoint: Path) -> int:
    """Return the optimiser step in a checkpoint's name."""
    match = NAME.fullmatch(checkpoint.name)
    assert match is not None, checkpoint
    return int(match[1])


def _checkpoints(run: Path) -> list[Path]:
    return [p for p in run.glob("checkpoint-*") if p.is_dir() and NAME.fullmatch(p.name)]
