"""How far a running stage is, and how long it will take: from what `hsd` writes as it goes."""

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder, whole_stage
from slurm.watch.log_files import tail

_LOG_BYTES = 4_000_000
_TOTAL = re.compile(r"^(\S+ \S+) INFO \d+ rows, (\d+) steps? of ", re.MULTILINE)
_STEP = re.compile(r"^(\S+ \S+) INFO step (\d+)\b", re.MULTILINE)
_ROWS = re.compile(r"^(\S+ \S+) INFO (\d+) rows, (\d+) answered before", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Advance:
    """`done` of `total` steps or rows. `left_s` is None until a pace is known."""

    done: int
    total: int | None
    unit: str
    left_s: float | None = None


def advance(run: RunFolder, element: Element) -> Advance | None:
    """Return how far a running element is; None when it has not written anything of it yet."""
    stage = whole_stage(element.stage)
    if stage == "train":
        return _training(run.train(element.cell))
    if stage in ("evaluate", "baseline"):
        return _evaluation(run.cell(element.cell) / "evaluate")
    return None


def _training(folder: Path) -> Advance | None:
    log = tail(folder / "training.log", _LOG_BYTES)
    starts = list(_TOTAL.finditer(log))
    total = int(starts[-1][2]) if starts else None
    steps = (
        [(_seconds(at), int(step)) for at, step in _STEP.findall(log[starts[-1].end() :])]
        if starts
        else []
    )
    done = steps[-1][1] if steps else _last_step(folder / "metrics.jsonl")
    if done is None:
        return Advance(0, total, "steps") if total else None
    return Advance(done, total, "steps", _left(steps, total) if total else None)


def _evaluation(folder: Path) -> Advance | None:
    """Return the newest evaluation's rows: several sets are evaluated one after another."""
    logs = sorted(folder.glob("*/run_*/validation_log_*.log"), key=lambda p: p.stat().st_mtime)
    if not logs:
        return None
    starts = _ROWS.findall(tail(logs[-1]))
    if not starts:
        return None
    at, total, before = starts[-1]
    parts = list(logs[-1].parent.glob("predictions.rank*.jsonl"))
    done = sum(part.read_bytes().count(b"\n") for part in parts)
    written = max((part.stat().st_mtime for part in parts), default=0.0)
    pace = [(_seconds(at), int(before)), (written, done)]
    return Advance(done, int(total), "rows", _left(pace, int(total)) if parts else None)


def _left(points: list[tuple[float, int]], total: int) -> float | None:
    """Return the seconds to the end at the pace between the first and the last point."""
    if len(points) < 2:
        return None
    (first_at, first), (last_at, last) = points[0], points[-1]
    if last <= first or last_at <= first_at:
        return None
    at_last = (total - last) * (last_at - first_at) / (last - first)
    return max(at_last - max(time.time() - last_at, 0.0), 0.0)


def _seconds(stamp: str) -> float:
    """Return the time of `2026-01-31 10:00:00,123` (the node's zone, taken to be ours)."""
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007


def _last_step(metrics: Path) -> int | None:
    """Return the last step in metrics.jsonl; a line may be half written."""
    for line in reversed(tail(metrics, 100_000).splitlines()):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
