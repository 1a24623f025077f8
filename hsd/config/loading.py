"""Read a config: defaults < preset or file (and what it extends) < `--set`."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic

from hsd.config.config_files import read_config_file
from hsd.config.evaluate_config import EvalConfig
from hsd.config.gate_rules import GateRules
from hsd.config.import_config import ImportConfig
from hsd.config.legacy import is_legacy, modernised
from hsd.config.problems import Config, validated
from hsd.config.redaction import hides, redacted
from hsd.config.settings import OPTIONS, Settings, flatten, merged
from hsd.config.substitute import substituted
from hsd.config.train_config import TrainConfig
from hsd.errors import ConfigError, did_you_mean
from hsd.secrets import HIDDEN


@dataclass(frozen=True)
class Resolved(Generic[Config]):
    """A config and how it came to be."""

    config: Config
    settings: Settings
    """What was set and where; a field that is not in it has its default."""
    notes: tuple[str, ...] = ()
    """What became of older keys that were changed or had no meaning."""

    def shown(self) -> dict[str, Any]:
        """Return the whole config for showing: as in config.json, secrets redacted."""
        tree = redacted(self.config.model_dump(mode="json"))
        for path, setting in self.settings.items():
            if hides(setting):
                section = tree
                for name in path[:-1]:
                    section = section[name]
                section[path[-1]] = HIDDEN
        return tree


def load_train_config(source: str = "default", overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the config of a preset's name or a file's path, with `lora.rank=8` overrides on top.

    Raises ConfigError, one line, listing everything that is wrong.
    """
    return resolve_train_config(source, overrides).config


def resolve_train_config(
    source: str = "default", overrides: Sequence[str] = (), presets: Path | None = None
) -> Resolved[TrainConfig]:
    """Return the same with the place of every setting and the notes on older keys."""
    settings, notes = _chain(_find(source, Path(), presets or preset_folder()), presets)
    settings = merged(settings, _overrides(overrides, TrainConfig))
    return Resolved(validated(TrainConfig, settings), settings, notes)


def load_eval_config(overrides: Sequence[str] = (), **fields: Any) -> EvalConfig:
    """Return the config of an evaluation: `fields` (None is not given), then overrides on top.

    `model={"name": ..., "cache_dir": None}` sets fields of a section.
    """
    settings = merged(_given(fields), _overrides(overrides, EvalConfig))
    return validated(EvalConfig, settings)


def load_import_config(**fields: Any) -> ImportConfig:
    """Return the config of an import from its `fields`; None is not given."""
    return validated(ImportConfig, _given(fields))


def _given(fields: Mapping[str, Any]) -> Settings:
    flat = flatten(fields, OPTIONS)
    return {path: setting for path, setting in flat.items() if setting.value is not None}


def load_gate_rules(file: Path | None = None, overrides: Sequence[str] = ()) -> GateRules:
    """Return the rules of a file, and overrides on top.

    Raises ConfigError, one line, listing everything that is wrong.
    """
    tree = read_config_file(file, str(file)) if file else {}
    return gate_rules_of(tree, str(file), overrides)


def gate_rules_of(tree: Any, place: str, overrides: Sequence[str] = ()) -> GateRules:
    """Return the rules that were written at `place`, such as a sweep's section [gate]."""
    settings = substituted(flatten(tree, place), GateRules, os.environ)
    return validated(GateRules, merged(settings, _overrides(overrides, GateRules)))


def preset_names(presets: Path | None = None) -> list[str]:
    """Return the names of the presets, `default` first."""
    names = sorted(file.stem for file in (presets or preset_folder()).glob("*.json"))
    return sorted(names, key=lambda name: name != "default")


def preset_folder() -> Path:
    """Return the folder of the shipped presets.

    It lies beside the package `jobs`. That package is located, not imported: hsd reads its data
    files and runs none of its code, so the floors hold.
    """
    spec = find_spec("jobs")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("presets: package 'jobs' is not installed; reinstall hsd.")
    return Path(spec.submodule_search_locations[0]) / "presets"


def train_schema() -> dict[str, Any]:
    """Return the JSON schema of a preset file: the config's, and `extends`."""
    schema = TrainConfig.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Preset, or file relative to this one, whose settings this file changes.",
    }
    return schema


@dataclass(frozen=True)
class _Source:
    file: Path
    place: str
    """How messages call it: a preset's file name, or the path as it was given."""


def _find(name: str, folder: Path, presets: Path) -> _Source:
    known = preset_names(presets)
    if name in known:
        return _Source(presets / f"{name}.json", f"{name}.json")
    file = folder / Path(name).expanduser()
    if file.is_file():
        return _Source(file, str(file))
    if "/" in name or file.suffix:
        around = [f.name for f in file.parent.glob("*") if f.suffix == file.suffix]
        near = did_you_mean(file.name, beside=around)
        raise ConfigError(f"{file}: no such file.{near} Presets: {', '.join(known)}.")
    raise ConfigError(f"unknown preset '{name}'.{did_you_mean(name, known)} A file's path works.")


def _chain(
    source: _Source, presets: Path | None, below: tuple[_Source, ...] = ()
) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings and notes of a file on top of those of the files that it extends."""
    files = [earlier.file.resolve() for earlier in below]
    if source.file.resolve() in files:
        circle = " -> ".join(s.place for s in (*below, source))
        raise ConfigError(f"{below[0].place}: extends goes in a circle: {circle}.")
    settings, notes = _layer(source)
    parent = settings.pop(("extends",), None)
    if parent is None:
        return settings, notes
    if not isinstance(parent.value, str):
        raise ConfigError(f"{source.place}: extends: expected one preset's name or file's path.")
    try:
        above = _find(parent.value, source.file.parent, presets or preset_folder())
    except ConfigError as error:
        raise ConfigError(f"{source.place}: extends: {error}") from None
    lower, earlier = _chain(above, presets, (*below, source))
    return merged(lower, settings), (*earlier, *notes)


def _layer(source: _Source) -> tuple[Settings, tuple[str, ...]]:
    tree = read_config_file(source.file, source.place)
    if is_legacy(tree, source.place):
        return modernised(tree, source.place, os.environ)
    return substituted(flatten(tree, source.place), TrainConfig, os.environ), ()


def _overrides(texts: Sequence[str], model: type[Config]) -> Settings:
    """Return the settings of `lora.rank=8` texts; the value is JSON when it parses as JSON."""
    settings: Settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not all(name.split(".")):
            raise ConfigError(f"--set {text}: expected NAME=VALUE, such as lora.rank=8.")
        tree = _json_or_text(value)
        for part in reversed(name.split(".")):
            tree = {part: tree}
        settings = merged(settings, flatten(tree, "--set"))
    return substituted(settings, model, os.environ)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
