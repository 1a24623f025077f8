"""`hsd submit`: one command as one job, or as an array of shards."""

from collections.abc import Mapping
from contextlib import chdir
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.terminal.entry import run
from jobs.terminal.model_asked import model_asked, options_of
from jobs.terminal.options import Command, cluster_option, max_parallel_option, time_option
from jobs.terminal.output import echo

if TYPE_CHECKING:
    from hsd.config.train_config import TrainConfig
    from slurm.cluster.profile import Profile


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
    examples="""
    hsd submit train --cluster a100x4 --config default --output-dir runs/default
    hsd submit evaluate --after 123456 --model-name runs/default --data-file unified
    hsd submit gate --after 123457 runs/default/eval --reference runs/base/eval
    hsd submit merge --after 123458 --adapter-path runs/default --output-dir merged
    hsd submit merge --adapter-path runs/default --output-dir merged --dry-run
    hsd submit evaluate --shards 8 --model-name runs/default --data-file unified --output-dir eval
    hsd submit predict --shards 40 posts.jsonl --model-name runs/default --output scores.csv
    """,
)
@click.argument("kind", type=click.Choice(["train", "merge", "evaluate", "predict", "gate"]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF THE COMMAND]")
@cluster_option
@click.option("--after", metavar="JOBID", help="Start after this job has ended without an error.")
@click.option("--name", help="Name of the job. Default: the command and the time.")
@click.option(
    "--shards",
    type=click.IntRange(min=2),
    metavar="N",
    help="Share the rows of an evaluate or predict over an array of N jobs; the last one to finish "
    "merges. `hsd resubmit` repeats the jobs that failed.",
)
@max_parallel_option("How many shards may run at once.")
@time_option
@click.option("--dry-run", is_flag=True, help="Print the exact script; submit nothing.")
def submit(
    kind: str, arguments: tuple[str, ...], cluster: str | None, after: str | None,
    name: str | None, shards: int | None, max_parallel: int | None, time_min: int | None,
    dry_run: bool,
) -> None:  # fmt: skip
    """Submit one `hsd train`, `merge`, `evaluate`, `predict` or `gate` as a job, with its options.

    The job runs in this folder, with a copy of the code as it is now. A job that waits for a gate
    starts only if the verdict is PASS.
    """
    from jobs.terminal.submission_output import (
        is_queued,
        more_of,
        say_later,
        show_script,
        submit_prepared,
    )
    from slurm.check.checks_memory import require_fit
    from slurm.check.checks_models import require_model
    from slurm.check.checks_rows import are_here, require_files, require_readable
    from slurm.cluster.client import programs
    from slurm.submit.awaited_job import still_to_wait
    from slurm.submit.shard_parts import fitting_shards
    from slurm.submit.single_job import Single, paths_in, paths_of
    from slurm.submit.snapshot import running_code

    if max_parallel and not shards:
        raise click.UsageError("--max-parallel: one job runs alone; give --shards N too.")
    config, files = _check_usage(kind, arguments, shards)
    if not dry_run:
        require_files(files, echo, is_awaited=bool(after))
    if config and not dry_run and are_here(config):
        require_readable(config)
    profile = _profile(kind, cluster, dry_run).with_parallelism(max_parallel)
    model = model_asked(kind, options_of(kind, arguments))
    single = Single(
        kind, arguments, name or f"{kind}-{datetime.now():%Y%m%d-%H%M%S}",
        profile, running_code(), Path.cwd(), after, after, time_min, (
            *paths_in(arguments, Path.cwd()), *(paths_of(config, Path.cwd()) if config else ()),
            *(model.base_folder if model else ()),
        ), shards or 1,
    )  # fmt: skip
    if not dry_run and is_queued(single):
        return
    if config and not dry_run:
        require_fit(config, profile, echo)
    if after and not dry_run and not still_to_wait(after, programs(profile)):
        single = replace(single, after=None)
    if not _is_guess(cluster, dry_run):
        single, parts = fitting_shards(single)
        say_later(parts, more_of(single.name))
    prepared = single.prepared()
    if dry_run:
        show_script(prepared)
        return
    if model:
        require_model(model, profile, echo, is_awaited=bool(after))
    submit_prepared(prepared, single.write)


def _profile(kind: str, cluster: str | None, dry_run: bool) -> "Profile":
    """Return the profile of the cluster to submit to, with the cluster's own MaxArraySize."""
    from hsd.errors import PreflightError
    from slurm.cluster.client import programs
    from slurm.cluster.limits import with_array_size
    from slurm.cluster.profile import default_profile, load_profile
    from slurm.submit.work import NO_CLUSTER, REFERENCE

    if _is_guess(cluster, dry_run):
        echo(NO_CLUSTER)
        return load_profile(REFERENCE)  # no SLURM is asked about a cluster that nobody chose
    profile = load_profile(cluster or default_profile())
    if profile.local:
        raise PreflightError(
            f"this profile has no SLURM; run `hsd {kind} ...` here, or name a cluster's profile "
            "with --cluster."
        )
    return with_array_size(profile, programs(profile))


def _is_guess(cluster: str | None, dry_run: bool) -> bool:
    """Whether nobody chose the cluster: a dry run is for the reference cluster then."""
    from slurm.cluster.profile import chosen_profile

    return dry_run and not (cluster or chosen_profile())


def _check_usage(
    kind: str, arguments: tuple[str, ...], shards: int | None = None
) -> "tuple[TrainConfig | None, list[str]]":
    """Refuse what the command itself would refuse, before a job waits hours to say so.

    Return the config of a training, and the files that an evaluate or predict answers.
    """
    from slurm.submit.single_job import SHARDED

    if shards and kind not in SHARDED:
        raise click.UsageError(f"--shards: only {' and '.join(SHARDED)} can share their rows.")
    given = options_of(kind, arguments)
    if kind in SHARDED:
        _check_shards(given, shards)
    if kind == "train":
        from jobs.terminal.options import train_config

        folder = given["output_dir"]
        own = (f"output_dir={folder}",) if folder else ()
        return train_config(given["source"], (*given["overrides"], *own)), []
    files = [*given.get("data_files", ()), *([given["file"]] if kind == "predict" else [])]
    return None, files


def config_of_older(facts: Mapping[str, Any]) -> "TrainConfig | None":
    """Return the config of a training by an older hsd, which a container has to see the files of.

    None where run.json says what the command reads, and where no container hides files.
    """
    from hsd.errors import PreflightError

    container = facts["profile"].get("container") or {}
    if "seen" in facts or facts["kind"] != "train" or container.get("runtime", "none") == "none":
        return None
    if not Path(facts["cwd"]).is_dir():
        raise PreflightError(f"{facts['cwd']}: no such folder; the command runs there. Make it.")
    with chdir(facts["cwd"]):
        return _check_usage("train", tuple(facts["arguments"]))[0]


def _check_shards(given: dict[str, Any], shards: int | None) -> None:
    """Refuse what no element of an array can do."""
    if given["shard"] and shards:
        raise click.UsageError("--shard: each job of --shards N gets its own; leave it out.")
    if given["shard"] == "array":
        raise click.UsageError("--shard array: say how many jobs there are, with --shards N.")
    if "-" in (given.get("file"), given.get("output")):
        raise click.UsageError("-: a job has no standard input or output to pass on; name a file.")
    if shards and _engine(given) == "openai":
        raise click.UsageError("--shards: one server answers all rows; leave it out.")


def _engine(given: dict[str, Any]) -> str:
    """Return the engine that an option or --set names. Raises ConfigError for a wrong --set."""
    from hsd.config.loading import load_eval_config

    return load_eval_config(given["overrides"], engine=given["engine"]).engine


if __name__ == "__main__":
    run(submit)
