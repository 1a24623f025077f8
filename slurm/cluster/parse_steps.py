"""What sacct says of the steps of jobs: CPU time, memory, and how long they waited. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

_COLUMNS = 7
_MEMORY = re.compile(r"([\d.]+)([KMGTP]?)")
_UNITS = {"": 1.0, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_CPU = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class StepUse:
    """What one attempt used, over its steps, `.batch` and `.extern` too.

    `memory_b` is of the largest task, with the pages of files that were mapped; `waited_s` is from
    when it could start, which a dependency may have put off. None is what sacct does not say.
    """

    waited_s: float | None = None
    cpu_s: float | None = None
    memory_b: float | None = None


def parse_steps(text: str) -> dict[tuple[str, str], StepUse]:
    """Return what attempts used by job and start. A job's line comes before those of its steps."""
    found: dict[tuple[str, str], StepUse] = {}
    starts: dict[str, list[str]] = {}
    for row in _rows(text):
        own, submit, eligible, start, _, cpu, memory = row
        job, dot, _ = own.partition(".")
        if not dot:
            if _time(start):
                # What was requeued waits from then on; of others a dependency is no queue.
                ready = submit if starts.get(job) else eligible
                found[job, start] = StepUse(_between(ready, submit, start))
                starts.setdefault(job, []).append(start)
        elif (attempt := _attempt_of(start, starts.get(job, []))) is not None:
            key = (job, attempt)
            found[key] = _with(found[key], _seconds(cpu), _bytes(memory))
    return found


def _rows(text: str) -> Iterable[list[str]]:
    rows = (line.split("|") for line in text.splitlines())
    return (row for row in rows if len(row) == _COLUMNS)


def _attempt_of(start: str, starts: Iterable[str]) -> str | None:
    """Return the start of the attempt in whose time a step began: the last that had begun.

    ISO times of one zone are compared as they are.
    """
    return max((began for began in starts if began <= start), default=None)


def _with(use: StepUse, cpu_s: float | None, memory_b: float | None) -> StepUse:
    cpu = use.cpu_s if cpu_s is None else (use.cpu_s or 0.0) + cpu_s
    memory = use.memory_b if memory_b is None else max(use.memory_b or 0.0, memory_b)
    return replace(use, cpu_s=cpu, memory_b=memory)


def _between(ready: str, submit: str, start: str) -> float | None:
    began, could = _time(start), _time(ready) or _time(submit)
    return max((began - could).total_seconds(), 0.0) if began and could else None


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # Unknown, None
        return None


def _seconds(text: str) -> float | None:
    if not (found := _CPU.fullmatch(text.strip())):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _bytes(text: str) -> float | None:
    found = _MEMORY.fullmatch(text.strip())
    return float(found[1]) * _UNITS[found[2]] if found else None
