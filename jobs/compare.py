"""`hsd compare`: compare evaluations of the same posts, or the cells of a sweep."""

import json
from pathlib import Path

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.options import Command, groups_option, ignore_mode_option
from jobs.terminal.output import echo, echo_text


@click.command(
    cls=Command,
    examples="""
    hsd compare runs/base runs/adapter
    hsd compare runs/base runs/r8 runs/r32 --rank f1 --output comparison.html
    hsd compare runs/base runs/r8 runs/r32 --gate gate.toml
    hsd compare runs/base/eval runs/r8/eval --output by_set.html
    hsd compare runs/lora_presets --rank auroc
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Also write to FILE.html, FILE.md or FILE.json.",
)
@click.option(
    "--rank",
    "--sort",
    "rank",
    type=click.Choice(["accuracy", "f1", "macro_f1", "auroc", "auprc"]),
    help="Also rank the runs by this metric, with intervals that hold for all runs at once. "
    "A sweep is ranked by macro_f1 by default.",
)
@click.option(
    "--gate",
    "rules_file",
    type=click.Path(path_type=Path),
    help="Rank the runs, and test each run against the first with the rules in this TOML file.",
)
@groups_option
@ignore_mode_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def compare(
    runs: tuple[Path, ...],
    output: Path | None,
    rank: str | None,
    rules_file: Path | None,
    groups: str | None,
    ignore_mode_mismatch: bool,
    as_json: bool,
) -> None:
    """Compare evaluations of the same posts; the first RUN is the reference.

    RUN is the folder of an evaluation, or the --output-dir of `hsd evaluate`. If the runs cover
    several data sets, a table of models by data sets comes first. A single RUN that is a sweep
    shows all its cells, compares them with the base model, and says why failed cells failed.
    """
    from hsd.config.loading import load_gate_rules
    from hsd.groups.group_set import load_groups
    from slurm.run.run_folder import find_sweep

    rules = load_gate_rules(rules_file) if rules_file else None
    counted_in = load_groups(groups) if groups else None
    if len(runs) == 1 and (sweep := find_sweep(runs[0])):
        from jobs.terminal.sweep_tables import show_leaderboard

        show_leaderboard(sweep, rank, rules, output, as_json, counted_in)
        return

    from hsd.report.compare_sets import SetsComparison, compare_folders
    from hsd.report.comparison_report import write_comparison
    from jobs.terminal.number_tables import board_table, comparison_table
    from jobs.terminal.progress_bar import spinner
    from jobs.terminal.set_tables import sets_comparison

    with spinner("computing intervals"):
        compared = compare_folders(
            runs,
            rank,
            rules,
            ignore_mode_mismatch=ignore_mode_mismatch,
            groups=counted_in,
        )
    if output:
        write_comparison(output, compared)
    if as_json:
        echo_text(json.dumps(compared.numbers(), indent=2))
        return
    if isinstance(compared, SetsComparison):
        Terminal().print(sets_comparison(compared))
    else:
        for comparison in compared.comparisons:
            Terminal().print(comparison_table(comparison))
        if compared.board:
            Terminal().print(board_table(compared.board))
    echo(*compared.prompt_lines())


if __name__ == "__main__":
    run(compare)
