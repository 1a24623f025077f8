"""Settings of a sweep's file -> a Sweep. What is wrong is said in one line, with its place."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hsd.config.evaluate_config import EvalConfig
from hsd.config.loading import preset_names
from hsd.config.problems import faults, refusal, unknown_keys
from hsd.config.settings import FieldPath, Settings
from hsd.config.strict_toml import takes, typed, wrong
from hsd.config.substitute import substituted
from hsd.config.train_config import TrainConfig
from hsd.errors import did_you_mean
from slurm.sweep.absolute_paths import anchored, anchored_evaluation, rows
from slurm.sweep.cells import overlapping, own_folder_problem
from slurm.sweep.sweep_config import NAME, Sweep

_OPEN: dict[FieldPath, tuple[type[BaseModel], FieldPath]] = {
    ("set",): (TrainConfig, ()),
    ("grid",): (TrainConfig, ()),
    ("model",): (TrainConfig, ("model",)),
    ("data",): (TrainConfig, ("data",)),
    ("evaluate", "set"): (EvalConfig, ()),
}
"""Section -> the config whose fields its keys are, and below which section of it."""
_OF_THE_RUN = ("adapter", "data_file", "output_dir", "model.name")
"""Fields of an evaluation that hsd sets for every cell."""

Tables = dict[FieldPath, Settings]
"""Open section -> its settings, by their path in the config that they are fields of."""


def sweep_of(settings: Settings, place: str, folder: Path) -> Sweep:
    """Return the sweep of a file's settings, its paths relative to `folder` made absolute.

    Raises ConfigError, one line, listing everything that is wrong.
    """
    own = {path: s for path, s in settings.items() if _section(path) is None}
    unknown = unknown_keys(Sweep, own)  # first: one may be a missing key, misspelt
    _refuse([*_misshapen(settings), *_misnamed(own), *unknown, *_missing(own, place)])
    tables = {section: _table(settings, section, place) for section in _OPEN}
    _refuse([*_wrong_fields(tables), *_wrong_axes(tables[("grid",)]), *_overlaps(tables, place)])
    dotted = {
        (*section, ".".join(path[len(_OPEN[section][1]) :])): setting
        for section, table in tables.items()
        for path, setting in table.items()
    }
    sweep = typed(Sweep, substituted(own, Sweep, os.environ) | dotted)
    _refuse([*_repeated(sweep, place), *_unknown_presets(sweep, place)])
    return _anchored(sweep, folder)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise refusal(list(dict.fromkeys(problems)))


def _section(path: FieldPath) -> FieldPath | None:
    return next((section for section in _OPEN if path[: len(section)] == section), None)


def _misshapen(settings: Settings) -> Iterator[str]:
    """Yield open sections that are no sections, or hold one field twice."""
    seen: set[str] = set()
    for path, setting in settings.items():
        dotted = ".".join(path)
        if path in _OPEN and setting.value != {}:
            yield wrong(setting, "a section of fields and values")
        elif dotted in seen:
            yield f"{setting.place}: {dotted}: written twice, dotted and in a section"
        seen.add(dotted)


def _misnamed(own: Settings) -> Iterator[str]:
    name = own.get(("name",))
    if name and isinstance(name.value, str) and not re.fullmatch(NAME, name.value):
        yield wrong(name, "letters, digits, '.', '_' and '-', as a folder is called so")


def _missing(own: Settings, place: str) -> Iterator[str]:
    for name, field in Sweep.model_fields.items():
        if field.is_required() and (name,) not in own:
            yield f"{place}: {name} is missing (expected {takes(Sweep, (name,))})"


def _table(settings: Settings, section: FieldPath, place: str) -> Settings:
    """Return an open section as settings of the config whose fields it holds."""
    model, above = _OPEN[section]
    table: Settings = {}
    for path, setting in settings.items():
        if path[: len(section)] == section and path != section:
            inside = (*above, *".".join(path[len(section) :]).split("."))
            # [model] and [data] are called as in a training config, the others by themselves.
            at = place if above else f"{place}: [{'.'.join(section)}]"
            table[inside] = replace(setting, place=at, key=".".join(inside))
    return substituted(table, model, os.environ)


def _wrong_fields(tables: Tables) -> Iterator[str]:
    """Yield what a training config or an evaluation would refuse, and what is not to be set."""
    for section, table in tables.items():
        model, _ = _OPEN[section]
        keys = [".".join(path) for path in table]
        at = next(iter(table.values())).place if table else ""
        if model is TrainConfig:
            yield from own_folder_problem(keys, at)
        else:
            for key in keys:
                if key in _OF_THE_RUN:
                    yield f"{at}: {key}: is set for every cell; leave it out"
        for one in _each_alone(table) if section == ("grid",) else [table]:
            yield from faults(model, one)


def _each_alone(grid: Settings) -> Iterator[Settings]:
    """Yield every value of every axis as a setting by itself."""
    for path, setting in grid.items():
        for value in setting.value if isinstance(setting.value, list) else ():
            yield {path: replace(setting, value=value)}


def _wrong_axes(grid: Settings) -> Iterator[str]:
    for setting in grid.values():
        if not isinstance(setting.value, list) or not setting.value:
            yield wrong(setting, "a list of values to try, such as [8, 16]")


def _overlaps(tables: Tables, place: str) -> Iterator[str]:
    """Yield fields that two sections set: it would be a matter of luck which of them counts."""
    seen: dict[str, FieldPath] = {}
    for section in (("set",), ("model",), ("data",), ("grid",)):
        for path in tables[section]:
            key = ".".join(path)
            if near := overlapping(key, list(seen)):
                first = ".".join(seen[near])
                yield f"{place}: {key} is in [{first}] and in [{section[0]}]; leave it out of one"
            seen[key] = section


def _repeated(sweep: Sweep, place: str) -> Iterator[str]:
    for section, listed in (("presets", sweep.presets), ("evaluate.sets", sweep.evaluate.sets)):
        for name in sorted({name for name in listed if listed.count(name) > 1}):
            yield f"{place}: {section}: '{name}' is written twice"


def _unknown_presets(sweep: Sweep, place: str) -> Iterator[str]:
    known = preset_names()
    for preset in sweep.presets:
        if preset not in known and not Path(preset).expanduser().is_file():
            hint = did_you_mean(preset, known)
            yield f"{place}: presets: unknown preset '{preset}'.{hint} A file's path works"


def _anchored(sweep: Sweep, folder: Path) -> Sweep:
    """Return the sweep with absolute paths: it may be read again from another folder."""
    known = preset_names()

    def field(key: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(anchored(key, item, folder) for item in value)
        return anchored(key, value, folder)

    evaluate = sweep.evaluate
    place = evaluate.data_dir and folder.absolute() / evaluate.data_dir
    sets = tuple(rows(name, folder) for name in evaluate.sets)
    asked = {key: anchored_evaluation(key, v, folder) for key, v in evaluate.set.items()}
    return sweep.model_copy(
        update={
            "presets": tuple(
                p if p in known else str(folder.absolute() / Path(p).expanduser())
                for p in sweep.presets
            ),
            "grid": {key: field(key, values) for key, values in sweep.grid.items()},
            "set": {key: field(key, value) for key, value in sweep.set.items()},
            "model": {key: field(f"model.{key}", v) for key, v in sweep.model.items()},
            "data": {key: field(f"data.{key}", v) for key, v in sweep.data.items()},
            "evaluate": evaluate.model_copy(update={"sets": sets, "data_dir": place, "set": asked}),
        }
    )
