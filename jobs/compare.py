"""`hsd compare`: evaluations of the same posts side by side, or the cells of a sweep."""

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
    hsd compare runs/lora_presets --sort auroc
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Also write FILE.md or FILE.json.")
@click.option("--sort", default="macro_f1", show_default=True, help="Of a sweep: best cells first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def compare(runs: tuple[Path, ...], output: Path | None, sort: str, as_json: bool) -> None:
    """Compare evaluations of the same posts; the first RUN is the reference.

    RUN is the folder of an evaluation, or one with a single run_* inside. A single RUN of a sweep
    shows all its cells, those that failed with the reason, and compares them with the base.
    """
    from slurm.run_folder import find_sweep

    if len(runs) == 1 and (sweep := find_sweep(runs[0])):
        from jobs.sweep_tables import show_leaderboard

        show_leaderboard(sweep, sort, output, as_json)
        return

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
