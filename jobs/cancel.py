"""`hsd cancel`: cancel a run, one cell, or only the jobs that can never start."""

import click

from jobs.terminal.entry import run as run_command
from jobs.terminal.options import Command
from jobs.terminal.output import echo
from jobs.terminal.run_argument import target, typed_name


@click.command(
    cls=Command,
    examples="""
    hsd cancel lora_presets
    hsd cancel lora_presets/high_capacity
    hsd cancel last --stuck
    """,
)
@click.argument("run", metavar="RUN[/CELL]")
@click.option(
    "--stuck",
    is_flag=True,
    help="Cancel only jobs that can never start.",
)
def cancel(run: str, stuck: bool) -> None:
    """Cancel the waiting and running jobs of RUN, from the comparison back to the training.

    Finished work stays, and `hsd resubmit` continues from there. RUN is the name of a run, its
    folder, or `last` for the newest run that `hsd run` started.
    """
    from jobs.terminal.submission_output import settled
    from slurm.run.run_state import slurm_of
    from slurm.watch.cancellation import cancel as cancel_jobs

    folder, rest = target(run, 1)
    taken_back = settled(folder, release=False)
    ended = cancel_jobs(folder.path, slurm_of(folder), *rest, stuck=stuck)
    settled(folder)  # what was not to be cancelled of a submission that was killed
    if taken_back:
        echo("cancelled all jobs of a submission that was killed half way")
    for one in ended:
        echo(f"cancelled {one.cell}/{one.stage} ({one.job}, was {one.state})")
    if not (ended or taken_back):
        echo("No job is stuck." if stuck else "No job was waiting or running.")
    elif taken_back or not stuck:
        echo(f"To continue: hsd resubmit {typed_name(folder)}")


if __name__ == "__main__":
    run_command(cancel)
