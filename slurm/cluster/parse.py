"""What squeue and sacct print, as data. Pure; their formats are in slurm/cluster/client.py."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from slurm.node.events import OF_A_SIGNAL

_QUEUE_COLUMNS, _ACCOUNTING_COLUMNS = 13, 14
"""The last may hold any sign."""
_SHOWN = 100
_NOTHING = {"", "None", "N/A", "(null)", "Unknown", "None assigned"}
_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_ARRAY = re.compile(r"(\d+)_\[([\d,-]+)(?:%\d+)?\]")
_GPUS = re.compile(r"gres/gpu(:[^=,]+)?=(\d+)")


@dataclass(frozen=True, slots=True)
class Queued:
    """One element in the queue, or just out of it. `state` and `reason` are SLURM's words."""

    job: str
    state: str
    reason: str = ""
    used_s: int | None = None
    limit_s: int | None = None
    start: str = ""
    nodes: str = ""
    user: str = ""
    name: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Accounted:
    """One attempt of one element. `gpus` is None for one that never got any resources.

    `by_user` says that somebody cancelled it, rather than SLURM. Times are of the controller's
    zone, ISO without it, and empty when there is none.
    """

    job: str
    state: str
    code: int = 0
    signal: int = 0
    reason: str = ""
    submit: str = ""
    start: str = ""
    end: str = ""
    elapsed_s: int = 0
    gpus: int | None = None
    nodes: str = ""
    by_user: bool = False
    user: str = ""
    name: str = ""
    comment: str = ""


def parse_queue(text: str) -> dict[str, Queued]:
    """Return the elements in squeue's lines by their id, such as 123_0. Other lines are skipped."""
    rows = _rows(text, _QUEUE_COLUMNS)
    found = (_queued(row) for row in rows if len(row) == _QUEUE_COLUMNS)
    return {one.job: one for one in found}


def parse_accounting(text: str) -> dict[str, tuple[Accounted, ...]]:
    """Return each element's attempts in sacct's lines, the oldest first."""
    rows = _rows(text, _ACCOUNTING_COLUMNS)
    found = [one for row in rows if len(row) == _ACCOUNTING_COLUMNS for one in _accounted(row)]
    by_job: dict[str, list[Accounted]] = {}
    for one in sorted(found, key=lambda a: a.submit):  # stable; a requeue submits anew
        by_job.setdefault(one.job, []).append(one)
    return {job: tuple(attempts) for job, attempts in by_job.items()}


def not_understood(program: str, text: str, found: object) -> list[str]:
    """Return a sentence when nothing was `found` in a table that a program printed."""
    rows = [line for line in text.splitlines() if "|" in line]
    if found or not rows:
        return []
    shown = ascii(rows[0][:_SHOWN])
    return [f"{program} printed no line of the form that hsd asks for; the first: {shown}."]


def exit_of(told: str, of_step: str) -> tuple[int, int]:
    """Return the exit code and the signal in sacct's ExitCode, such as `1:0`.

    Before 25.11 sacct takes 128 off a code above 127: 137 and 9 both are `9:0`. `of_step` is
    DerivedExitCode, the highest of the job's steps, which sacct leaves as it is.
    """
    code, signal = _pair(told)
    step, killed_by = _pair(of_step)
    whole = OF_A_SIGNAL + killed_by if killed_by else step
    return (whole if whole > OF_A_SIGNAL and whole - OF_A_SIGNAL == code else code), signal


def gpus_in(tres: str) -> int | None:
    """Return the GPUs in an AllocTRES; the sum over types where there is no total. None if ""."""
    if not tres:
        return None
    found = _GPUS.findall(tres)
    totals = [int(count) for kind, count in found if not kind]
    return totals[0] if totals else sum(int(count) for _, count in found)


def seconds(text: str) -> int | None:
    """Return SLURM's `1-02:03:04`, `03:04` in seconds; None for UNLIMITED, INVALID and the like."""
    if not (match := _TIME.fullmatch(text)):
        return None
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def _queued(row: list[str]) -> Queued:
    array, index, own, state, used, limit, start, nodes, _, *known, reason = map(_word, row)
    user, name, comment = known
    return Queued(
        job=f"{array}_{index}" if index else own,
        state=state,
        reason=reason,
        used_s=seconds(used),
        limit_s=seconds(limit),
        start=start,
        nodes=nodes,
        user=user,
        name=name,
        comment=comment,
    )


def _accounted(row: list[str]) -> Iterable[Accounted]:
    own, state, told, of_step, reason, submit, start, end, elapsed, tres, nodes, *known = map(
        _word, row
    )
    user, name, comment = known
    code, signal = exit_of(told, of_step)
    for job in _elements(own):
        yield Accounted(
            job=job,
            state=state.split(" ")[0],  # "CANCELLED by 1000"
            code=code,
            signal=signal,
            reason=reason,
            submit=submit,
            # 22.05 may write one, the time of the end, for a job that was cancelled in the queue.
            start=start if nodes else "",
            end=end,
            elapsed_s=_number(elapsed),
            gpus=gpus_in(tres),
            nodes=nodes,
            by_user=" by " in state,
            user=user,
            name=name,
            comment=comment,
        )


def _rows(text: str, columns: int) -> list[list[str]]:
    return [line.split("|", columns - 1) for line in text.splitlines()]


def _elements(job: str) -> list[str]:
    """Return the ids of `123_4`, or of `123_[0-2,5%4]`, which is one line while they wait."""
    match = _ARRAY.fullmatch(job)
    if not match:
        return [job]
    spans = (part.partition("-") for part in match[2].split(",") if part)
    return [
        f"{match[1]}_{index}"
        for first, _, last in spans
        if first.isdigit()
        for index in range(int(first), int(last or first) + 1)
    ]


def _pair(exit_code: str) -> tuple[int, int]:
    code, _, signal = exit_code.partition(":")
    return _number(code), _number(signal)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _word(text: str) -> str:
    word = text.strip()
    return "" if word in _NOTHING else word
