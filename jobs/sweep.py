"""`hsd sweep`: list the sweeps that come with hsd, and show the cells of a sweep."""

import json
from typing import Any

import click
from rich.table import Table

from hsd.config.settings import Settings, flatten
from hsd.counted import counted
from jobs.terminal.console import Terminal, escape, escape_lines
from jobs.terminal.entry import run
from jobs.terminal.options import CONTEXT, Command, CommandGroup, set_option
from jobs.terminal.output import echo_text
from slurm.sweep.sweep import Cell, Sweep, load_sweep, sweep_names, sweep_schema


@click.group(cls=CommandGroup, context_settings=CONTEXT)
def sweep() -> None:
    """List and show sweeps."""


@sweep.command("list", cls=Command, examples="hsd sweep list")
def list_sweeps() -> None:
    """List the sweeps that come with hsd."""
    table = Table(header_style="bold")
    for column in ("sweep", "what for", "cells", "evaluated on"):
        table.add_column(column, no_wrap=column == "sweep")
    for name in sweep_names():
        one, made = load_sweep(name)
        sets = ", ".join(one.evaluate.sets)
        table.add_row(name, escape(one.description), str(len(made)), escape(sets))
    Terminal().print(table)


@sweep.command(
    cls=Command,
    examples="""
    hsd sweep show lora_presets
    hsd sweep show mine.toml --set training.epochs=1
    hsd sweep show seeds --format json
    """,
)
@click.argument("source", metavar="SWEEP|FILE")
@set_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json also shows the whole config of each cell.",
)
def show(source: str, overrides: tuple[str, ...], form: str) -> None:
    """Show the cells of a sweep: what all cells change, and how the cells differ."""
    loaded, made = load_sweep(source, overrides)
    if form == "json":
        shown = {"sweep": loaded.model_dump(mode="json"), "cells": [_cell(c) for c in made]}
        echo_text(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    alike = _alike(made)
    console = Terminal()
    console.print(_headline(loaded, len(made)), highlight=False)
    if alike:
        changes = escape_lines(_lines(alike))
        console.print(f"In every cell:\n{changes}", highlight=False, soft_wrap=True)
    console.print(_table(made))


@sweep.command(cls=Command, examples="hsd sweep schema > sweep.schema.json")
def schema() -> None:
    """Print the JSON schema of sweeps."""
    echo_text(json.dumps(sweep_schema(), indent=2))


def _headline(loaded: Sweep, count: int) -> str:
    also = [
        *(["each merged into its base"] if loaded.merge else []),
        f"evaluated on {', '.join(loaded.evaluate.sets)}",
        *(["compared with the original model"] if loaded.baseline else []),
    ]
    return escape(f"{loaded.name}: {counted(count, 'cell')}, {', '.join(also)}")


def _alike(made: tuple[Cell, ...]) -> dict[str, Any]:
    """Return the changes that the sweep makes in all cells."""
    changes = made[0].changes
    return {k: v for k, v in changes.items() if all(c.changes[k] == v for c in made)}


def _table(made: tuple[Cell, ...]) -> Table:
    table = Table(header_style="bold")
    table.add_column("cell", overflow="fold")
    table.add_column("preset", overflow="fold")
    table.add_column("differs from other cells in", overflow="fold")
    fields = [{".".join(p): s.value for p, s in _leaves(cell).items()} for cell in made]
    common = [key for key, value in fields[0].items() if all(f.get(key) == value for f in fields)]
    for cell, values in zip(made, fields, strict=True):
        own = {key: value for key, value in values.items() if key not in common}
        table.add_row(escape(cell.name), escape(cell.preset), escape_lines(_lines(own)))
    return table


def _leaves(cell: Cell) -> Settings:
    """Return the fields of a cell's config but those that say nothing of the training."""
    return flatten(cell.config.model_dump(mode="json", exclude={"description", "output_dir"}), "")


def _lines(changes: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changes.items()]


def _cell(cell: Cell) -> dict[str, Any]:
    config = cell.config.model_dump(mode="json")
    return {"name": cell.name, "preset": cell.preset, "changes": cell.changes, "config": config}


if __name__ == "__main__":
    run(sweep)
