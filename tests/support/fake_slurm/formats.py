"""Tables as squeue and sinfo print them: `%i`, `%.18i`, with a heading."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

LETTER = re.compile(r"%(\.?)(\d*)([a-zA-Z])")
Row = TypeVar("Row")


def table(
    form: str,
    columns: Mapping[str, tuple[str, Callable[[Row], object]]],
    rows: Sequence[Row],
    heading: bool = True,
) -> str:
    """Return a line for each row, with `form`'s letters replaced by columns (heading, value)."""
    heads: dict[str, object] = {letter: head for letter, (head, _) in columns.items()}
    lines = [heads] if heading else []
    wanted = {letter: value for letter, (_, value) in columns.items() if letter in form}
    lines += [{letter: value(row) for letter, value in wanted.items()} for row in rows]
    return "".join(LETTER.sub(partial(_cell, cells), form) + "\n" for cells in lines)


def _cell(cells: dict[str, object], found: re.Match[str]) -> str:
    text, width = str(cells[found[3]]), int(found[2] or 0)
    if not width:
        return text
    return text[:width].rjust(width) if found[1] else text[:width].ljust(width)


def moment(seconds: float | None, otherwise: str = "N/A") -> str:
    """Return a time as Slurm writes it: 2026-01-31T23:59:59."""
    if seconds is None:
        return otherwise
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def span(indices: Sequence[int]) -> str:
    """Return the indices of an array as Slurm writes them: 0-2,5."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ",".join(f"{p[0]}" if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
