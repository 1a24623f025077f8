"""A sweep's leaderboard on a terminal."""

import json
from pathlib import Path

from hsd.config.gate_rules import GateRules
from hsd.groups.group_set import GroupSet
from jobs.terminal.console import Terminal, escape
from jobs.terminal.number_tables import board_table
from jobs.terminal.output import echo_text
from jobs.terminal.set_tables import BySetTables, change_lines
from slurm.run.run_folder import RunFolder
from slurm.watch.sweep_leaderboard import sweep_leaderboard, write_leaderboard


def show_leaderboard(
    folder: RunFolder, metric: str | None, rules: GateRules | None, output: Path | None,
    as_json: bool, groups: GroupSet | None = None,
) -> None:  # fmt: skip
    """Print the cells on each set, best first, why others are missing, and what changed."""
    sweep = sweep_leaderboard(folder, metric, rules, groups)
    if output:
        write_leaderboard(output, sweep)
    if as_json:
        echo_text(json.dumps(sweep.numbers(), indent=2))
        return
    console = Terminal()
    if sweep.by_set:
        console.print(BySetTables(sweep.by_set))
    for one in sweep.sets:
        console.print(f"[bold]{escape(sweep.name)}[/] on {escape(one.data_file)}")
        console.print(board_table(one.board))
        for line in change_lines(one.compared):
            console.print(line, highlight=False)
    console.print("Groups and intervals of each cell: add --output FILE.html")
