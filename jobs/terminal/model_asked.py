"""The model that a command of `hsd submit` asks for, read out of its options."""

from collections.abc import Mapping, Sequence
from contextlib import chdir
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from hsd.errors import HsdError
from hsd.hub.base_models import fetch_words, kind_of
from jobs.terminal.model_options import model_section
from jobs.terminal.options import CONTEXT

if TYPE_CHECKING:
    from slurm.check.checks_models import ModelAsked

NO_MODEL = "MODEL"
"""What stands for a model that could not be found out."""


def options_of(kind: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command by their names. Raises UsageError, as the command does."""
    command = getattr(import_module(f"jobs.{kind}"), kind)
    with command.make_context(f"hsd {kind}", list(arguments), **CONTEXT) as context:
        return dict(context.params)


def model_asked(kind: str, given: Mapping[str, Any]) -> "ModelAsked | None":
    """Return the model that options name; None where a job loads none.

    Raises ConfigError for wrong options.
    """
    from slurm.check.checks_models import ModelAsked

    if kind == "gate":
        return None
    from hsd.config.loading import load_eval_config, load_train_config

    if kind == "train":
        return ModelAsked(load_train_config(given["source"], given["overrides"]).model)
    if kind == "merge":
        base = {"name": given["base_model"], "cache_dir": given["cache_dir"]}
        return ModelAsked(load_eval_config(model=base).model, given["adapter_path"])
    config = load_eval_config(
        given["overrides"],
        engine=given["engine"],
        adapter=given["adapter"],
        model=model_section(dict(given)),
    )
    return None if config.engine == "openai" else ModelAsked(config.model, config.adapter)


def fetched_by(facts: Mapping[str, Any]) -> str:
    """Return what a person types after `hsd fetch` for the model of a submitted command."""
    try:
        with chdir(facts["cwd"]):
            asked = model_asked(facts["kind"], options_of(facts["kind"], facts["arguments"]))
            base = asked.base if asked else None
    except (HsdError, click.ClickException, KeyError, OSError):
        return NO_MODEL
    return fetch_words(base) if base and kind_of(base.name) == "hub" else NO_MODEL
