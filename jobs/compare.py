"""`hsd compare`: evaluations of the same posts side by side."""

import json
from pathlib import Path

import click

from jobs.entry import run
from jobs.options import Command


@click.command(
    cls=Command,
    examples="""
    hsd compare runs/base runs/adapter
    hsd compare runs/base runs/r8 runs/r32 --output comparison.md
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Also write FILE.md or FILE.json.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def compare(runs: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Compare evaluations of the same posts; the first RUN is the reference.

    RUN is the folder of an evaluation, or one with a single run_* inside.
    """
    from rich.console import Console

    from hsd.report.comparison import compare_runs, write_comparison
    from jobs.tables import comparison_table

    compared = compare_runs(runs)
    if output:
        write_comparison(output, compared)
    if as_json:
        click.echo(json.dumps(compared.numbers(), indent=2))
        return
    for comparison in compared.comparisons:
        Console().print(comparison_table(comparison))
    click.echo("\n".join(compared.prompt_lines()))


if __name__ == "__main__":
    run(compare)
