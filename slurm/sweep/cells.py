"""The cells of a sweep: each preset at each point of the grid, as a training config."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.loading import resolve_train_config
from hsd.config.problems import validated
from hsd.config.settings import Setting, Settings, merged
from hsd.config.strict_toml import refuse_secrets, refused_before_work
from hsd.config.train_config import TrainConfig
from hsd.errors import ConfigError, PreflightError, did_you_mean
from slurm.sweep.absolute_paths import anchored, anchored_config
from slurm.sweep.grid import point_names, points, preset_label
from slurm.sweep.sweep_config import Sweep

_TAKEN = re.compile(r"all|baseline(-\d+)?")
"""Names of folders that a run has beside its cells."""
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of a sweep."""

    name: str
    """Fit for a file's name, and the same whenever the sweep is read: `default-rank=8`."""
    preset: str
    changes: dict[str, Any]
    """Dotted field -> value: what the sweep and `--set` change of the preset."""
    config: TrainConfig
    """All of it, paths absolute. `output_dir` is the preset's: the run's folder decides."""


def cells(
    sweep: Sweep,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    folder: Path | None = None,
    place: str = "",
) -> tuple[Cell, ...]:
    """Return the cells, in the order of the presets and then of the grid.

    `overrides` (`lora.rank=64`) win over everything: a field that the grid varies is no longer
    varied. `only` are names of cells. Relative paths are relative to `folder`, by default where
    the command runs. `place` is what messages call the sweep. Raises PreflightError, one line.
    """
    place = place or f"sweep {sweep.name}"
    with refused_before_work():
        given = _overrides(overrides)
    grid = _overridden(sweep.grid, given)
    made = [
        _cell(place, preset, name, sweep.shared | point | given, folder or Path.cwd())
        for preset in sweep.presets
        for name, point in zip(point_names(grid), points(grid), strict=True)
    ]
    _require_names([cell.name for cell in made], place)
    return tuple(made) if not only else _chosen(made, only)


def overlapping(key: str, keys: Sequence[str]) -> str | None:
    """Return the key that is the same field, or a section around or inside it."""
    return next((k for k in keys if f"{k}.".startswith(f"{key}.") or _inside(key, k)), None)


def as_settings(changes: Mapping[str, Any], place: str) -> Settings:
    """Return dotted fields as settings that were written at `place`."""
    return {tuple(key.split(".")): Setting(value, place, key) for key, value in changes.items()}


def own_folder_problem(keys: Sequence[str], place: str) -> list[str]:
    """Return what is wrong with setting the one field that is not the user's."""
    said = f"{place}: output_dir: every cell has a folder of its own; leave it out"
    return [said] if "output_dir" in keys else []


def _inside(key: str, section: str) -> bool:
    return key.startswith(f"{section}.")


def _overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Return `lora.rank=64` texts as dotted fields; what is wrong in one is refused."""
    resolved = resolve_train_config("default", texts).settings
    given = {".".join(path): s.value for path, s in resolved.items() if s.place == "--set"}
    for problem in own_folder_problem(list(given), "--set"):
        raise ConfigError(f"{problem}.")
    return {key: anchored(key, value, Path.cwd()) for key, value in given.items()}


def _overridden(
    grid: Mapping[str, Sequence[Any]], given: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    """Return the grid with one value where an override sets it, so that names stay true."""
    for key in given:
        near = overlapping(key, list(grid))
        if near is not None and near != key:
            raise PreflightError(f"--set {key}: the grid varies {near}; set that as a whole.")
    return {key: (given[key],) if key in given else values for key, values in grid.items()}


def _cell(place: str, preset: str, point: str, changes: Mapping[str, Any], folder: Path) -> Cell:
    name = preset_label(preset) + point
    try:
        lower = resolve_train_config(preset).settings
        for key, value in changes.items():
            lower = merged(lower, as_settings({key: value}, "changes"))
        config = validated(TrainConfig, lower)
        refuse_secrets(config.model_dump(mode="json"))
    except ConfigError as error:
        raise PreflightError(f"{place}: cell {name}: {error}") from None
    return Cell(name, preset, dict(changes), anchored_config(config, folder))


def _require_names(names: Sequence[str], place: str) -> None:
    """Refuse names that two cells have, that a folder of the run has, or no folder can have."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise PreflightError(
            f"{place}: two cells are called '{twice[0]}'; write each preset and each value once."
        )
    for name in names:
        if _TAKEN.fullmatch(name):
            raise PreflightError(
                f"{place}: a cell cannot be called '{name}', as a run has a folder of that name; "
                "rename the preset's file."
            )
        if not name or name.startswith("."):
            raise PreflightError(
                f"{place}: a cell cannot be called '{name}', as its folder is hidden or another's; "
                "rename the preset's file: it has to begin with a letter or digit."
            )
        if len(name) > _LONGEST_NAME:
            raise PreflightError(
                f"{place}: the cell name '{name[:40]}...' has {len(name)} characters, of at most "
                f"{_LONGEST_NAME}; write what is long into preset files and list those."
            )


def _chosen(made: Sequence[Cell], only: Sequence[str]) -> tuple[Cell, ...]:
    names = [cell.name for cell in made]
    for name in only:
        if name not in names:
            raise PreflightError(f"--only {name}: no such cell.{did_you_mean(name, names)}")
    return tuple(cell for cell in made if cell.name in only)
