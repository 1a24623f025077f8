"""`hsd status`: show the state of a run, and what to do next."""

import json
import time

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.output import echo_text
from jobs.terminal.run_argument import fetched_name, run_argument, typed_name
from slurm.run.run_folder import RunFolder

_BESIDE_CELLS = 20
"""Lines of a terminal for what is not a cell: what runs, causes, what to type."""
_FEWEST_CELLS = 10


@click.command(
    cls=Command,
    examples="""
    hsd status
    hsd status lora_presets --watch
    hsd status runs/lora_presets --json
    """,
)
@run_argument
@click.option("--watch", is_flag=True, help="Update the table until everything has ended.")
@click.option(
    "--every",
    "every_s",
    type=click.IntRange(min=2),
    default=15,
    show_default=True,
    metavar="SECONDS",
    help="How often --watch asks SLURM.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(run: RunFolder, watch: bool, every_s: int, as_json: bool) -> None:
    """Show the state of RUN: a line for each cell, causes of failures, and what to do next.

    RUN is the name of a run, its folder, or `last` for the newest run that `hsd run` started.
    """
    from rich.live import Live

    from jobs.terminal.status_table import status_json, status_table
    from slurm.run.run_state import slurm_of
    from slurm.watch.overview import overview

    slurm, names = slurm_of(run), (typed_name(run), fetched_name(run))
    seen = overview(run.path, slurm, *names)
    if as_json:
        echo_text(json.dumps(status_json(seen), indent=2, ensure_ascii=False))
        return
    console = Terminal()
    if not watch:
        console.print(status_table(seen))
        return
    most = max(console.height - _BESIDE_CELLS, _FEWEST_CELLS)
    with Live(status_table(seen, most), console=console, auto_refresh=False) as live:
        while seen.live:
            time.sleep(every_s)
            seen = overview(run.path, slurm, *names)
            live.update(status_table(seen, most), refresh=True)


if __name__ == "__main__":
    run_command(status)
