"""`hsd groups`: the groups that posts are counted in, and which names of a data set fall where."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jobs.terminal.console import Terminal, escape
from jobs.terminal.data_tables import stdout, table
from jobs.terminal.entry import run
from jobs.terminal.options import CONTEXT, Command, CommandGroup
from jobs.terminal.output import echo
from jobs.terminal.table_options import table_fields, table_options


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def groups() -> None:
    """Show groups to count posts in, and check own ones."""


@groups.command("list", cls=Command, examples="hsd groups list")
def list_groups() -> None:
    """List the sets of groups that come with hsd."""
    from hsd.groups.group_set import load_groups, shipped_groups

    made = table("set", "groups")
    made.add_column("for whom")
    for name in shipped_groups():
        one = load_groups(name)
        made.add_row(name, str(len(one.names)), escape(one.file.description or ""))
    Terminal().print(made)


@groups.command(
    cls=Command,
    examples="""
    hsd groups show broad
    hsd groups show my_groups.toml
    hsd groups show broad --toml > my_groups.toml
    """,
)
@click.argument("source", metavar="NAME|FILE")
@click.option("--toml", "as_file", is_flag=True, help="Print the group file, to begin your own.")
def show(source: str, as_file: bool) -> None:
    """Show the groups of a set and the spellings of each."""
    from hsd.groups.group_file import ancestors
    from hsd.groups.group_set import load_groups, text_of
    from jobs.terminal.output import echo_text

    if as_file:
        echo_text(text_of(source))
        return
    loaded = load_groups(source)
    made = table("group")
    made.add_column("spellings", overflow="fold")
    for name, entry in loaded.file.groups.items():
        depth = len(ancestors(name, loaded.file.groups))
        made.add_row(escape("  " * depth + name), escape(", ".join(entry.names)))
    if loaded.file.other:
        made.add_row("other", escape(", ".join(loaded.file.other)))
    Terminal().print(made)


@groups.command(
    cls=Command,
    examples="""
    hsd groups check hatexplain data/unified/val.jsonl
    hsd groups check my_groups.toml posts.csv --text-column body --group-column about
    """,
)
@click.argument("source", metavar="NAME|FILE")
@click.argument(
    "files", metavar="DATA...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@table_options
def check(source: str, files: Sequence[Path], **options: Any) -> None:
    """Show which names in DATA fall into which group of a set, and which fall into none.

    Names of no group count as `other`. Exit code 10 means that a row cannot be read.
    """
    from hsd.data.loaded_file import require_clean
    from hsd.data.source_formats import load_posts
    from hsd.data.table_columns import columns_of
    from hsd.groups.group_set import load_groups
    from hsd.groups.name_counts import name_counts

    loaded, columns = load_groups(source), columns_of(**table_fields(options))
    read = [load_posts(file, columns, loaded) for file in files]
    rows = [row for one in read for row in require_clean(one)]
    found = name_counts(((row.named, row.persona_tag) for row in rows), loaded)
    made = table("name in the data", "posts")
    made.add_column("group", overflow="fold")
    for name in found.names:
        made.add_row(escape(name.name), str(name.posts), escape(", ".join(name.groups)))
    stdout().print(made)
    for line in found.sentences(loaded):
        echo(line)
    for one in read:
        echo(*one.notes, *(f"Warning: a column is not read: {said}." for said in one.unread))


if __name__ == "__main__":
    run(groups)
