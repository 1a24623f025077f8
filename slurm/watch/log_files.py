"""The logs of an element: where they are, which part is of which attempt, what went wrong first."""

import os
import re
from pathlib import Path

from hsd.errors import PreflightError, did_you_mean
from slurm.cluster.environment import ATTEMPT
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import RunState

TAIL_BYTES = 200_000
"""Enough for the tracebacks of many ranks, and read in no time from a slow disk."""
_FIRST_ERROR = re.compile(
    r"^Error: |Traceback \(most recent call last\)|^\w*Error\b|out of memory|oom.kill"
    r"|\bfatal\b|^\S+: error: |Segmentation fault|Killed|No space left|quota exceeded",
    re.IGNORECASE,
)
_ATTEMPT = re.compile(rf"^{re.escape(ATTEMPT)}(\d+) ", re.MULTILINE)


def log_files(run: RunFolder, element: Element) -> list[Path]:
    """Return the logs that are there: stderr, then stdout, of each node."""
    if not element.number:
        return []
    folder = run.submission(element.number, element.stage)
    return [
        path
        for stream in ("err", "out")
        for path in sorted(folder.glob(f"{element.job}_*_log.{stream}"))
    ]


def tail(path: Path, size: int = TAIL_BYTES) -> str:
    """Return the end of a file, from the start of a line on; "" when it cannot be read."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(length - size, 0))
            content = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return content if length <= size else content.partition("\n")[2]


def attempt(log: str, number: int | None = None) -> str:
    """Return one attempt's part of a log, counted from 1; the last one's where none is named."""
    heads = list(_ATTEMPT.finditer(log))
    if not heads:
        return log if number in (None, 1) else ""
    ends = [*(head.start() for head in heads[1:]), len(log)]
    parts = {int(head[1]): log[head.start() : end] for head, end in zip(heads, ends, strict=True)}
    return parts.get(number, "") if number else log[heads[-1].start() :]


def last_words(run: RunFolder, element: Element, size: int = TAIL_BYTES) -> str:
    """Return the ends of an element's logs, of its last attempt: what its cause is looked for in.

    stdout comes first, so that the last line is stderr's.
    """
    return "\n".join(attempt(tail(path, size)) for path in reversed(log_files(run, element)))


def first_error(log: str, lines: int = 40) -> str:
    """Return the log from the first line that tells of an error on; "" when there is none."""
    every = log.splitlines()
    for number, line in enumerate(every):
        if _FIRST_ERROR.search(line):
            return "\n".join(every[number : number + lines]) + "\n"
    return ""


def read_log(path: Path) -> str:
    """Return a whole log; bytes that are no UTF-8 are replaced."""
    return path.read_text(encoding="utf-8", errors="replace")


def chosen(
    state: RunState, cell: str | None = None, stage: str | None = None, *, failed: bool = False
) -> list[Element]:
    """Return the elements whose logs are asked for.

    Of a cell without a stage it is the newest stage that has logs; without a cell all of them, or
    those that failed. Raises PreflightError when there is none.
    """
    if cell is None:
        return [one for one in state.shown if one.state == "failed" or not failed]
    of_cell = {name: one for name, one in state.of(cell).items() if log_files(state.folder, one)}
    if stage is not None:
        named = [one for one in state.elements if (one.cell, one.stage) == (cell, stage)]
        found = of_cell.get(stage) or next(iter(named), None)
        if found is None:
            hint = did_you_mean(stage, of_cell)
            raise PreflightError(f"{state.folder.name}/{cell}: no logs of '{stage}'.{hint}")
        return [found]
    if not of_cell:
        raise PreflightError(f"{state.folder.name}/{cell}: no logs yet; see `hsd status`.")
    return [list(of_cell.values())[-1]]
