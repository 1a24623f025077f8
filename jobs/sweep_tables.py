"""A sweep's leaderboard on a terminal."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from hsd.report.comparison import sentences
from jobs.tables import number_table
from slurm.leaderboard import HEADER, leaderboard, rows, write_leaderboard
from slurm.run_folder import RunFolder


def show_leaderboard(folder: RunFolder, sort: str, output: Path | None, as_json: bool) -> None:
    """Print the cells on each set, best first, why the others are missing, and comparisons."""
    board = leaderboard(folder, sort)
    if output:
        write_leaderboard(output, board)
    if as_json:
        click.echo(json.dumps(board.numbers(), indent=2))
        return
    console = Console()
    for data_file, places in board.places.items():
        there = [place for place in places if place.evaluation]
        console.print(number_table(f"{board.name} on {data_file}", HEADER, rows(there)))
        for place in places:
            if place.evaluation is None:
                console.print(
                    f"[red]{escape(place.cell)}[/]: {escape(place.reason)}", soft_wrap=True
                )
        for comparison in (
            board.comparisons[data_file].comparisons if data_file in board.comparisons else ()
        ):
            said = " ".join(sentences(comparison))
            line = f"[bold]{escape(comparison.other)}[/] against {escape(comparison.reference)}: "
            console.print(line + escape(said), highlight=False)
    console.print(
        "Groups and intervals of each: --output FILE.md, or hsd compare with two folders."
    )
