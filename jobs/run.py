"""`hsd run`: train, evaluate and compare a sweep, on a cluster or on this machine."""

import click

from jobs.terminal.entry import run as run_program
from jobs.terminal.options import (
    Command,
    cluster_option,
    max_parallel_option,
    only_option,
    set_option,
)


@click.command(
    cls=Command,
    examples="""
    hsd run lora_presets --cluster a100x4 --dry-run
    hsd run lora_presets --cluster a100x4
    hsd run my_sweep.toml --only default,quick_test --set training.epochs=1
    hsd run quick_cpu --local
    """,
)
@click.argument("sweep", metavar="SWEEP")
@cluster_option
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and the exact scripts; submit nothing."
)
@click.option("--local", is_flag=True, help="Run on this machine, cell after cell, without SLURM.")
@only_option("Run only these cells.")
@set_option
@max_parallel_option("How many cells of a stage may run at once.")
@click.option("--json", "as_json", is_flag=True, help="Print what was submitted as JSON.")
def run(
    sweep: str, cluster: str | None, dry_run: bool, local: bool, only: tuple[str, ...],
    overrides: tuple[str, ...], max_parallel: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Train, evaluate and compare the cells of SWEEP, on a cluster or on this machine.

    SWEEP is a name (see `hsd sweep list`) or a TOML file. Run the same command again to do what is
    left: it skips cells that are done, leaves queued cells alone, and refuses a cell whose config,
    code or data changed.
    """
    from jobs.terminal.submission_output import proceed, settled
    from slurm.submit.work import find_work

    before = {} if dry_run else {"settled": settled}
    found = find_work(sweep, cluster, local, only, overrides, max_parallel, dry_run, **before)
    return proceed(found, dry_run=dry_run, as_json=as_json)


if __name__ == "__main__":
    run_program(run)
