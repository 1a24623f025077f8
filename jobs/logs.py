"""`hsd logs`: what the jobs of a run wrote, or where."""

import click

from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.run_argument import target
from slurm.run.run_folder import LAST


@click.command(
    cls=Command,
    examples="""
    hsd logs
    hsd logs lora_presets
    hsd logs lora_presets/default/train -f
    hsd logs last/high_capacity --first-error
    hsd logs last/high_capacity/train --attempt 1
    """,
)
@click.argument("run", metavar="[RUN[/CELL[/STAGE]]]", default=LAST)
@click.option("-f", "--follow", is_flag=True, help="Keep showing new lines until the job ends.")
@click.option("--first-error", is_flag=True, help="Show each log from its first error on.")
@click.option("--attempt", type=click.IntRange(min=1), help="Show only this attempt.")
def logs(run: str, follow: bool, first_error: bool, attempt: int | None) -> None:
    """Show the logs of a cell or of one stage; for a whole RUN, show where the logs are.

    For a cell, hsd shows the newest stage that has logs. RUN is the name of a run, its folder, or
    `last`, the default, for the newest run that `hsd run` started.
    """
    from jobs.terminal.log_output import follow_logs, list_logs, show_logs
    from slurm.run.run_state import slurm_of, states
    from slurm.watch.log_files import chosen

    folder, names = target(run, 2)
    slurm = slurm_of(folder)
    state = states(folder.path, slurm)
    if not names and not first_error:
        list_logs(state)
        return
    for element in chosen(state, *names, failed=first_error and not names):
        show_logs(folder, element, first_error_only=first_error, number=attempt)
        if follow:
            follow_logs(folder, element, slurm)


if __name__ == "__main__":
    run_command(logs)
