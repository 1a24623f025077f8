"""When a whole sweep will have ended: from what runs now and from what has run. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from slurm.run.element_state import NEVER, NOT_SUBMITTED
from slurm.run.run_folder import ALL
from slurm.watch.overview import Line

_RUNNING = ("running", "stopping")


@dataclass(frozen=True, slots=True)
class SweepFinish:
    """`left_s` until the last cell has ended, if as many jobs run at once as now: `at_once`.

    It is None while nothing runs, while nobody can tell how long a stage takes, and while cells are
    not submitted: nobody knows when they will be.
    """

    done: int
    total: int
    at_once: int = 0
    left_s: float | None = None


def sweep_finish(lines: Iterable[Line], states: Mapping[str, str], now: datetime) -> SweepFinish:
    """Return how many cells are done, and when the last one is expected; `now` is in any zone."""
    cells = {cell: state for cell, state in states.items() if cell != ALL}
    done = sum(state == "done" for state in cells.values())
    own = [line for line in lines if line.element.cell != ALL]
    at_once = sum(line.element.state in _RUNNING for line in own)
    left_s = None if NOT_SUBMITTED in cells.values() else _left_s(own, at_once, now)
    return SweepFinish(done, len(cells), at_once, left_s)


def expected_start(line: Line, now: datetime) -> datetime | None:
    """Return when SLURM expects to start what waits; None where it does not say, or it is past."""
    try:
        at = datetime.fromisoformat(line.element.expected_start).astimezone()
    except ValueError:
        return None
    return at if at > now else None


def _left_s(lines: Sequence[Line], at_once: int, now: datetime) -> float | None:
    typical = _typical(lines)
    work: list[float] = []
    by_cell: dict[str, float] = {}
    for line in lines:
        if not line.element.live or line.element.reason == NEVER:
            continue
        left = _left_of(line, typical.get(line.stage))
        if left is None:
            return None
        work.append(left)
        start = expected_start(line, now)
        waits = (start - now).total_seconds() if start else 0.0
        by_cell[line.element.cell] = by_cell.get(line.element.cell, 0.0) + waits + left
    if not work or not at_once:
        return None
    # A cell's stages come one after another, and all cells share the places that there are.
    return max(*by_cell.values(), sum(work) / at_once)


def _left_of(line: Line, typical: float | None) -> float | None:
    told = _told(line)
    if told is not None or typical is None:
        return told
    used = line.element.used_s or 0 if line.element.state in _RUNNING else 0
    return max(typical - used, 0.0)


def _told(line: Line) -> float | None:
    """Return what a stage says of its end; of several sets it knows that of one."""
    return line.progress.left_s if line.progress and line.progress.parts == 1 else None


def _typical(lines: Iterable[Line]) -> dict[str, float]:
    """Return how long each stage takes: of those that are done, else as those that run expect."""
    ended: dict[str, list[float]] = {}
    expected: dict[str, list[float]] = {}
    for line in lines:
        used, told = line.element.used_s, _told(line)
        if used is None:
            continue
        if line.element.state == "done":
            ended.setdefault(line.stage, []).append(used)
        elif told is not None:
            expected.setdefault(line.stage, []).append(used + told)
    return {stage: median(times) for stage, times in (expected | ended).items()}
