"""`hsd resubmit`: submit again what failed."""

import click

from jobs.terminal.entry import run
from jobs.terminal.options import Command, max_parallel_option, only_option, set_option, time_option


@click.command(
    cls=Command,
    examples="""
    hsd resubmit last --failed
    hsd resubmit lora_presets --failed --time 48:00:00
    hsd resubmit lora_presets --only high_capacity --set training.batch_size=2
    hsd resubmit last --failed --exclude-failed-nodes
    """,
)
@click.argument("run_name", metavar="RUN")
@click.option(
    "--failed", is_flag=True, help="Submit only cells that failed, not cells that were cancelled."
)
@only_option("Submit only these cells.")
@set_option
@time_option
@max_parallel_option("How many cells of a stage, or shards, may run at once.")
@click.option(
    "--new-code",
    is_flag=True,
    help="Run today's code, not the copy that was submitted.",
)
@click.option(
    "--exclude-failed-nodes",
    is_flag=True,
    help="Exclude every node on which a job failed because of the node: no GPU, driver, NCCL, "
    "disk. Without it, a node is excluded once two cells failed there.",
)
@click.option(
    "--allow-node",
    "allow_nodes",
    multiple=True,
    metavar="NODE",
    help="Use an excluded node again. May be repeated.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and the exact scripts; submit nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was submitted as JSON.")
def resubmit(
    run_name: str, failed: bool, only: tuple[str, ...], overrides: tuple[str, ...],
    time_min: int | None, max_parallel: int | None, new_code: bool, exclude_failed_nodes: bool,
    allow_nodes: tuple[str, ...], dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Submit again what is neither done nor in the queue; finished stages are kept.

    RUN may also be a job of `hsd submit`: of its shards only those that are left are submitted.

    A training resumes from its newest checkpoint. --set changes the submitted cells: they start
    again from the beginning, and their earlier output is kept beside them.
    """
    from jobs.submit import config_of_older
    from jobs.terminal.submission_output import proceed, proceed_single, settled
    from slurm.run.run_folder import find_run
    from slurm.submit.resubmission import resubmission
    from slurm.submit.single_again import single_again

    folder = find_run(run_name)
    if not dry_run:
        settled(folder)
    if folder.facts().get("kind") != "sweep":
        if overrides or new_code:
            raise click.UsageError(
                "--set and --new-code are for sweeps; submit a changed command with another --name."
            )
        again = single_again(
            folder,
            failed=failed,
            only=only,
            time_min=time_min,
            exclude_failed_nodes=exclude_failed_nodes,
            allow_nodes=allow_nodes,
            config=config_of_older(folder.facts()),
            max_parallel=max_parallel,
        )
        return proceed_single(again, dry_run=dry_run, as_json=as_json)
    found = resubmission(
        folder,
        failed=failed,
        only=only,
        overrides=overrides,
        time_min=time_min,
        new_code=new_code,
        exclude_failed_nodes=exclude_failed_nodes,
        allow_nodes=allow_nodes,
        max_parallel=max_parallel,
    )
    return proceed(found, dry_run=dry_run, as_json=as_json)


if __name__ == "__main__":
    run(resubmit)
