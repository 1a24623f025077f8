"""How far a stage is, how fast, and how long it will take: from the progress.json of its run."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hsd.errors import PreflightError
from hsd.io.json_reader import read_object
from hsd.io.progress_file import EVERY_S, PROGRESS
from hsd.report.predictions import PARTS, answered_rows
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder, whole_stage

QUIET_S = 600.0
"""A validation or a checkpoint may take minutes; whoever wrote nothing for longer may be dead."""
_QUIET_STEPS = 5
"""Where a step takes minutes, so many steps are waited for."""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """`done` of `total` steps or rows, of the `part`-th of `parts` sets.

    `per_s` and `left_s` are of this start and of this set, and None until there is a pace to tell
    them from, and when nothing goes on: `quiet_s` is how long nothing was written, if for too long.
    """

    done: int
    total: int
    unit: str
    left_s: float | None = None
    per_s: float | None = None
    quiet_s: float | None = None
    part: int = 1
    parts: int = 1

    @property
    def stands(self) -> "StageProgress":
        """The same of a stage that does not go on now."""
        return replace(self, left_s=None, per_s=None, quiet_s=None)


def stage_progress(run: RunFolder, element: Element, sets: int = 1) -> StageProgress | None:
    """Return how far an element is; None when it has not written anything of it yet.

    `sets` are those that an evaluation answers, one after another.
    """
    stage = whole_stage(element.stage)
    if stage == "train":
        return _read(run.train(element.cell) / PROGRESS, element.began)
    if stage not in ("evaluate", "baseline"):
        return None
    home = run.cell(element.cell) / "evaluate"
    begun = list(home.glob(f"*/run_*/{PROGRESS}"))
    newest = max(begun, key=_written, default=None)
    found = _read(newest, element.began) if newest else None
    if found is None or sets <= 1:
        return found
    part = len({file.parent.parent for file in begun})
    return replace(found, part=min(part, sets), parts=sets)


def _read(file: Path, started: str) -> StageProgress | None:
    """Return what a file says; None where it is gone, damaged, or of another hsd."""
    try:
        content = read_object(file)
        began, total, at = content["began"], int(content["total"]), _time(content["at"])
        done, until = _rows_since(file, int(content["done"]), at)
        found = StageProgress(done, total, str(content.get("unit")))
        if started and at < _time(started):  # this attempt has not come so far yet
            return found
        return _paced(found, done - int(began["done"]), until - _time(began["at"]), until)
    except (PreflightError, OSError, KeyError, TypeError, ValueError):
        return None


def _rows_since(file: Path, done: int, at: float) -> tuple[int, float]:
    """Return how many rows are answered, and when that was so.

    The first rank writes the file and may be done before the others. Only then their rows are
    counted here: the files are large, and a sweep has many.
    """
    written = [_written(part) for part in file.parent.glob(PARTS)]
    if not written or max(written) <= _written(file) + EVERY_S:
        return done, at
    return max(done, answered_rows(file.parent)), max(at, *written)


def _paced(found: StageProgress, more: int, seconds: float, until: float) -> StageProgress:
    """Return it with a pace, or how long it has been quiet."""
    pace = more / seconds if seconds > 0 else 0.0
    since = max(time.time() - until, 0.0)
    if since > max(QUIET_S, _QUIET_STEPS / pace if pace > 0 else 0.0):
        return replace(found, quiet_s=since)
    if pace <= 0:
        return found
    left = max((found.total - found.done) / pace - since, 0.0)
    return replace(found, per_s=pace, left_s=left)


def _time(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _written(file: Path) -> float:
    """Return when a file was written; one that is gone meanwhile is old."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
