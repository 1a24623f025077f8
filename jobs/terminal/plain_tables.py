"""Tables in hsd's look, of words and numbers; what is in them is elsewhere, and loads slowly."""

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from jobs.terminal.console import escape_lines


def plain_table(title: str, header: Sequence[str] = ()) -> Table:
    """Return an empty table in hsd's look, with columns of words."""
    return Table(
        *header,
        title=escape_lines(title.split("\n")) or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # the widest table fits 80 columns
    )


def number_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, leading: int = 0
) -> Table:
    """Return a table whose first column is words and whose others are numbers.

    `leading` lines stand between rows: cells of several lines need one.

    Names come from data and folders, so every cell is escaped: rich reads [brackets] as markup.
    """
    table = plain_table(title)
    table.leading = leading
    for index, name in enumerate(header):
        words = index == 0 or name == "rate"
        justify: Literal["left", "right"] = "left" if words else "right"
        table.add_column(name, justify=justify, no_wrap=not words, overflow="fold")
    for row in rows:
        table.add_row(*(escape_lines(cell.split("\n")) for cell in row))
    return table
