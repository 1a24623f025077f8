"""How far a running stage is, and how long it will take: from the progress.json of its run."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hsd.errors import PreflightError
from hsd.io.json_reader import read_object
from hsd.io.progress_file import PROGRESS
from hsd.report.predictions import PARTS, answered_rows
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder, whole_stage


@dataclass(frozen=True, slots=True)
class StageProgress:
    """`done` of `total` steps or rows. `left_s` is None until there is a pace to tell it from."""

    done: int
    total: int
    unit: str
    left_s: float | None = None


def stage_progress(run: RunFolder, element: Element) -> StageProgress | None:
    """Return how far a running element is; None when it has not written anything of it yet."""
    stage = whole_stage(element.stage)
    if stage == "train":
        return _read(run.train(element.cell) / PROGRESS)
    if stage in ("evaluate", "baseline"):  # several sets are evaluated one after another
        files = (run.cell(element.cell) / "evaluate").glob(f"*/run_*/{PROGRESS}")
        newest = max(files, key=_written, default=None)
        return _read(newest) if newest else None
    return None


def _read(file: Path) -> StageProgress | None:
    """Return what a file says; None where it is gone, damaged, or of another hsd.

    The first rank writes it and may be done before the others: their rows are counted here.
    """
    try:
        content = read_object(file)
        began, total = content["began"], int(content["total"])
        parts = list(file.parent.glob(PARTS))
        done = max(int(content["done"]), answered_rows(file.parent))
        at = max(_time(content["at"]), *map(_written, parts)) if parts else _time(content["at"])
        seconds = at - _time(began["at"])
        pace = (done - int(began["done"])) / seconds if seconds > 0 else 0.0
        since = max(time.time() - at, 0.0)
    except (PreflightError, OSError, KeyError, TypeError, ValueError):
        return None
    left = max((total - done) / pace - since, 0.0) if pace > 0 else None
    return StageProgress(done, total, str(content.get("unit")), left)


def _time(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _written(file: Path) -> float:
    """Return when a file was written; one that is gone meanwhile is old."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
