"""`hsd cost`: the GPU-hours of every attempt of a run."""

import json

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.output import echo_text
from jobs.terminal.run_argument import runs_argument
from slurm.run.run_folder import RunFolder


@click.command(
    cls=Command,
    examples="""
    hsd cost
    hsd cost lora_presets --json
    hsd cost lora_presets prompts scores
    """,
)
@runs_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def cost(runs: list[RunFolder], as_json: bool) -> None:
    """Count the GPU-hours of RUN: every attempt of every submission, requeued jobs too.

    With several runs there is one table: a line for each run, and their total.

    The second table says where the hours went, stage by stage; its parts add up to all of them.
    work: what was kept. idle: the share of the work in which sampled GPUs did nothing. start-up:
    until the first step or row. again: what a requeued job lost, and a later attempt did again.
    failed and cancelled: what those left nobody any use of. waited: hours in the queue, in which
    nothing is paid. A run without GPUs has the hours of its jobs there.

    Below them stands what the jobs used of what they booked, and which lines of the profile would
    do. Jobs of a few seconds are left out there.

    RUN is the name of a run, its folder, or `last` for the newest run that `hsd run` started.
    """

    from jobs.terminal.cost_table import cost_json, cost_table, runs_table
    from slurm.run.run_state import slurm_of
    from slurm.watch.accounting import costs
    from slurm.watch.booked import stage_uses

    found = [(run, costs(run.path, slurm_of(run))) for run in runs]
    if as_json:
        facts = [
            {"run": run.name, **cost_json(one, stage_uses(run.path, one.attempts))}
            for run, one in found
        ]
        echo_text(json.dumps(facts if len(facts) > 1 else facts[0], indent=2))
    elif len(found) > 1:
        Terminal().print(runs_table({run.name: one for run, one in found}))
    else:
        ((run, one),) = found
        Terminal().print(cost_table(run.name, one, stage_uses(run.path, one.attempts)))


if __name__ == "__main__":
    run_command(cost)
