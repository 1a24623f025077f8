"""What `hsd doctor` found, on a terminal."""

from collections.abc import Iterable

from rich.table import Table

from hsd.checks import Check
from jobs.terminal.console import escape
from jobs.terminal.plain_tables import plain_table

_WORDS = {True: "ok", None: "[yellow]warning[/]", False: "[bold red]FAIL[/]"}


def checks_table(checks: Iterable[Check]) -> Table:
    """Return a line for each check, and below one that is not well what would work."""
    table = plain_table("")
    table.add_column("", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("how it is", overflow="fold")
    for check in checks:
        said = escape(check.line) + (f"\n[dim]-> {escape(check.fix)}[/]" if check.fix else "")
        table.add_row(_WORDS[check.ok], escape(check.name), said)
    return table
