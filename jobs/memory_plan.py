"""`hsd plan`: what a training needs, before anything is booked or loaded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.terminal.console import Terminal
from jobs.terminal.entry import run
from jobs.terminal.options import Command, config_option, set_option, train_config
from jobs.terminal.output import echo_text

if TYPE_CHECKING:
    from hsd.training.planned_devices import PlannedDevices


@click.command(
    cls=Command,
    examples="""
    hsd plan --config detector --gpus 4x24
    hsd plan --model meta-llama/Llama-3.1-8B-Instruct --cluster a100x4 --set lora.rank=64
    hsd plan --model gpt-oss-20b/config.json --gpus 1x24 --rows 10000
    """,
)
@config_option
@set_option
@click.option(
    "--model",
    "model",
    metavar="NAME|FOLDER|FILE",
    help="Base model (model.name). A folder with a config.json, or the file, is enough.",
)
@click.option(
    "--gpus",
    metavar="COUNTxGB",
    help="Plan for these GPUs: 4x24 is four GPUs with 24 GB each.",
)
@click.option(
    "--cluster",
    metavar="NAME|FILE",
    help="Plan for the training jobs of this cluster profile.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), help="Number of training rows, if not as in the file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def plan(
    source: str,
    overrides: tuple[str, ...],
    model: str | None,
    gpus: str | None,
    cluster: str | None,
    rows: int | None,
    as_json: bool,
) -> int:
    """Plan a training: memory, tokens, steps, disk and time, before a GPU is booked.

    No weights are loaded. Memory is what one device needs at its peak. Without --gpus and
    --cluster the plan is for this machine. The exit code is 3 if the training does not fit.
    """
    from hsd.hub.base_models import require_base_named

    if gpus and cluster:
        raise click.UsageError("--gpus and --cluster both say where; give only one.")
    named = (f"model.name={json.dumps(model)}",) if model else ()
    config = train_config(source, (*overrides, *named))
    if not Path(config.model.name).expanduser().is_file():  # a config.json is enough for a plan
        require_base_named(config.model.name)

    from hsd.training.fit import changes_that_fit
    from hsd.training.run_plan import plan_run
    from jobs.terminal.plan_tables import plan_json, plan_tables
    from slurm.check.profile_fit import fitting

    planned = plan_run(config, _devices(gpus, cluster), rows)
    profiles = fitting(planned.need_gb) if planned.devices.is_gpu else []
    does_not_fit = planned.devices.fits(planned.need_gb) == "no"
    would_fit = changes_that_fit(planned) if does_not_fit else []
    if as_json:
        echo_text(json.dumps(plan_json(planned, profiles, would_fit), indent=2))
    else:
        Terminal().print(plan_tables(planned, profiles, would_fit))
    return 3 if does_not_fit else 0


def _devices(gpus: str | None, cluster: str | None) -> "PlannedDevices":
    if gpus:
        from hsd.training.planned_devices import gpus_of

        return gpus_of(gpus)
    if cluster:
        from slurm.check.profile_fit import devices_of
        from slurm.cluster.profile import load_profile

        return devices_of(load_profile(cluster))
    from hsd.training.planned_base import devices_here

    return devices_here()


if __name__ == "__main__":
    run(plan)
