"""A sweep: which presets are compared, what is varied, and on which posts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsd.config.config_files import read_config_file
from hsd.config.loading import gate_rules_of, preset_folder
from hsd.config.model_config import ModelConfig
from hsd.config.settings import flatten
from hsd.config.strict_toml import find_toml, known, refuse_secrets, refused_before_work
from hsd.config.train_config import DataConfig
from hsd.errors import ConfigError
from slurm.sweep.cells import Cell, cells
from slurm.sweep.sweep_config import EvaluateConfig, Sweep
from slurm.sweep.sweep_file import sweep_of

__all__ = ["Cell", "EvaluateConfig", "Sweep", "cells", "load_sweep", "sweep_names", "sweep_schema"]


def load_sweep(
    name_or_file: str, overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[Sweep, tuple[Cell, ...]]:
    """Return the sweep of a shipped one's name or a file's path, and its cells, as `cells` says.

    Its paths are absolute. Raises ConfigError for a name that nothing has, and PreflightError, one
    line, for what is wrong in it or in one of its cells.
    """
    source = find_toml("sweep", name_or_file, [_folder()])
    with refused_before_work():
        tree = read_config_file(source.file, source.place)
        gate = tree.pop("gate", None)
        sweep = sweep_of(flatten(tree, source.place), source.place, Path.cwd())
        try:
            refuse_secrets(sweep.evaluate.model_dump(mode="json"))
        except ConfigError as error:
            raise ConfigError(f"{source.place}: evaluate.{error}") from None
        if gate is not None:
            if not isinstance(gate, dict):
                raise ConfigError(f"{source.place}: gate: expected a section, [gate].")
            rules = gate_rules_of(gate, source.place)
            if not sweep.baseline and not rules.has_floor:
                raise ConfigError(
                    f"{source.place}: [gate] has nothing to compare with: set `baseline = true`, "
                    "or gate.worst_group_f1 or gate.largest_gap."
                )
            sweep = sweep.model_copy(update={"gate": rules})
    return sweep, cells(sweep, overrides, only, place=source.place)


def sweep_names() -> list[str]:
    """Return the names of the shipped sweeps."""
    return list(known([_folder()]))


def sweep_schema() -> dict[str, Any]:
    """Return the JSON schema of a sweep's file."""
    schema = Sweep.model_json_schema()
    for name, model in (("model", ModelConfig), ("data", DataConfig)):
        said = schema["properties"][name]["description"]
        schema["properties"][name] = model.model_json_schema() | {"description": said}
    return schema


def _folder() -> Path:
    """Return the folder of the shipped sweeps, which lies beside that of the presets."""
    return preset_folder().parent / "sweeps"
