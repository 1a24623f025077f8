"""How fast what runs is, and when it will have ended, on a terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from jobs.terminal.plain_tables import plain_table
from slurm.watch.finish import SweepFinish, expected_start, sweep_finish
from slurm.watch.overview import Line, Overview

_PER = (("s", 1), ("min", 60), ("h", 3600))
_WEEK = timedelta(days=6)


def now_here() -> datetime:
    """Return the time on this machine's clock."""
    return datetime.now().astimezone()


def duration(seconds: float) -> str:
    """Return a time to wait in two parts at most: 45 s, 12 min, 3 h 05."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d}"


def clock(at: datetime, now: datetime) -> str:
    """Return a time to come as people say it: 14:05, Tue 14:05, 24 Dec 14:05."""
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%a %H:%M}" if at - now < _WEEK else f"{at:%d %b %H:%M}"


def rate(per_s: float, unit: str) -> str:
    """Return a pace with a number that can be read: 3.2 rows/s, 4.5 steps/min, 2.0 steps/h."""
    per, seconds = next(((p, s) for p, s in _PER if per_s * s >= 1), _PER[-1])
    number = per_s * seconds
    return f"{number:,.0f} {unit}/{per}" if number >= 100 else f"{number:.1f} {unit}/{per}"


def start_words(line: Line) -> str:
    """Return when SLURM expects to start what waits, such as ` from 14:05`, where it says so."""
    now = now_here()
    start = expected_start(line, now) if line.element.expected_start else None
    return f" from {clock(start, now)}" if start else ""


def progress_parts(overview: Overview) -> Sequence[RenderableType]:
    """Return a line for each stage that runs, and one for the sweep; none where nothing does."""
    now = now_here()
    rows = [_row(line, now) for line in overview.lines if _is_told(line)]
    parts: list[RenderableType] = []
    if rows:
        table = plain_table("", ("running", "done", "rate", "elapsed", "left", "finish"))
        table.columns[0].overflow = "fold"
        for row in rows:
            table.add_row(*map(Text, row))
        parts.append(table)
    if overview.live and (said := finish_sentence(_finish(overview), now)):
        parts.append(Text(said))
    return parts


def finish_sentence(finish: SweepFinish, now: datetime) -> str:
    """Return how many cells are done and when the last one is expected; "" of a single job."""
    if finish.total < 2:
        return ""
    said = f"{finish.done} of {finish.total} cells done."
    if finish.left_s is None:
        return said
    at = clock(now + timedelta(seconds=finish.left_s), now)
    return (
        f"{said} The last one is expected at {at} (in {duration(finish.left_s)}), if as many jobs "
        f"run at once as now ({finish.at_once})."
    )


def progress_json(line: Line) -> dict[str, Any] | None:
    """Return how far a stage is; `finish` is a time in this machine's zone."""
    if line.progress is None:
        return None
    left = line.progress.left_s
    at = None if left is None else now_here() + timedelta(seconds=left)
    return {**asdict(line.progress), "finish": at and at.isoformat(timespec="seconds")}


def finish_json(overview: Overview) -> dict[str, Any]:
    """Return how far the sweep is, and when its last cell is expected."""
    finish = _finish(overview)
    at = None if finish.left_s is None else now_here() + timedelta(seconds=finish.left_s)
    return {**asdict(finish), "finish": at and at.isoformat(timespec="seconds")}


def _finish(overview: Overview) -> SweepFinish:
    return sweep_finish(overview.lines, overview.states, now_here())


def _is_told(line: Line) -> bool:
    return (
        line.progress is not None
        and line.element.state == "running"
        and (line.progress.per_s is not None or line.progress.quiet_s is not None)
    )


def _row(line: Line, now: datetime) -> tuple[str, ...]:
    element, progress = line.element, line.progress
    assert progress is not None
    name = element.cell if element.cell == line.stage else f"{element.cell}/{line.stage}"
    several = f" of set {progress.part} of {progress.parts}" if progress.parts > 1 else ""
    far = f"{progress.done:,}/{progress.total:,}{several}"
    elapsed = "" if element.used_s is None else duration(element.used_s)
    if progress.quiet_s is not None:
        return name, far, f"nothing for {duration(progress.quiet_s)}", elapsed, "", ""
    if progress.per_s is None or progress.left_s is None:
        return name, far, "", elapsed, "", ""
    pace, left = rate(progress.per_s, progress.unit), duration(progress.left_s)
    # Sets are as large as they are: of the next ones nobody knows yet how long they take.
    least = "> " if progress.part < progress.parts else ""
    at = clock(now + timedelta(seconds=progress.left_s), now)
    return name, far, pace, elapsed, f"{least}{left}", f"{least}{at}"
