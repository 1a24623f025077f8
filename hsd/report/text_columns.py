"""Aligned columns and titled sections of a plain-text report."""

from collections.abc import Iterable, Sequence


def titled(title: str, body: str) -> str:
    """Return a section under its title."""
    return f"{title}\n{'-' * len(title)}\n{body}"


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned text; the first column left, the others right unless it is a pair."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(_line(row, widths) for row in table)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    if len(others) == 1:
        return f"{first:<{widths[0]}}  {others[0]}".rstrip()
    cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
    return "  ".join((f"{first:<{widths[0]}}", *cells)).rstrip()
