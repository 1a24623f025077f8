"""Turn settings into a typed config, or into one line that says everything that is wrong."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hsd.config.fields import expected, field_at, leaf_paths, section_at
from hsd.config.redaction import hides, redacted
from hsd.config.settings import OPTIONS, FieldPath, Setting, Settings, all_behind, behind, nested
from hsd.errors import ConfigError, did_you_mean
from hsd.secrets import HIDDEN

Config = TypeVar("Config", bound=BaseModel)
_LONGEST = 60


def validated(model: type[Config], settings: Settings) -> Config:
    """Return the typed config. Raises ConfigError listing all that is wrong, in one line.

    Types are strict ("32" is no number), by JSON's rules: a list may be a tuple, a text a path.
    """
    try:
        return _parsed(model, settings)
    except ValidationError as error:
        raise refusal(_problems(model, settings, error)) from None


def faults(model: type[BaseModel], settings: Settings) -> list[str]:
    """Return one line for everything that is wrong; none when the settings are right."""
    try:
        _parsed(model, settings)
    except ValidationError as error:
        return _problems(model, settings, error)
    return []


def unknown_keys(model: type[BaseModel], settings: Settings) -> list[str]:
    """Return one line for every key that is none of the model's own."""
    return [
        _unknown(model, path[:1], setting)
        for path, setting in settings.items()
        if path[0] not in model.model_fields
    ]


def refusal(problems: list[str]) -> ConfigError:
    """Return one error for several problems."""
    line = "; ".join(problem.removesuffix(".") for problem in problems)
    return ConfigError(line if line.endswith("?") else f"{line}.")


def _parsed(model: type[Config], settings: Settings) -> Config:
    return model.model_validate_json(json.dumps(nested(settings), default=str), strict=True)


def _problems(model: type[BaseModel], settings: Settings, error: ValidationError) -> list[str]:
    problems: dict[FieldPath, str] = {}
    for detail in error.errors(include_url=False):
        unknown = detail["type"] == "extra_forbidden"
        where = tuple(str(part) for part in detail["loc"])
        path = where if unknown else _known_part(model, where)
        setting = behind(settings, path)
        if path in problems or setting is None:
            continue  # each branch of a union reports the same value
        if detail["type"] == "value_error" and section_at(model, path):
            problems[path] = _broken(path, settings, detail["ctx"]["error"])
            continue
        problems[path] = _unknown(model, path, setting) if unknown else _wrong(model, path, setting)
    return list(problems.values()) or [str(error)]


def _known_part(model: type[BaseModel], where: FieldPath) -> FieldPath:
    """Return the part of pydantic's location that is a field, without union tags and indices."""
    depth = next((n for n in range(len(where), 0, -1) if field_at(model, where[:n])), 0)
    return where[:depth]


def _unknown(model: type[BaseModel], path: FieldPath, setting: Setting) -> str:
    section = section_at(model, path[:-1])
    known = list(section.model_fields) if section else []
    elsewhere = [".".join(leaf) for leaf in leaf_paths(model) if leaf[-1] == path[-1]]
    hint = did_you_mean(path[-1], known)
    if elsewhere and "Did you mean" not in hint:
        hint = f" Did you mean '{elsewhere[0]}'?{hint}"
    at = "".join(f"{part}: " for part in (setting.place, ".".join(path[:-1])) if part)
    return f"{at}unknown key '{path[-1]}'.{hint}"


def _broken(path: FieldPath, settings: Settings, rule: ValueError) -> str:
    """Return what a section says of fields that do not go together, and all places of them."""
    places = dict.fromkeys(one.place for one in all_behind(settings, path))
    at = "".join(f"{part}: " for part in (" with ".join(places), ".".join(path)) if part)
    return f"{at}{rule}"


def _wrong(model: type[BaseModel], path: FieldPath, setting: Setting) -> str:
    field = field_at(model, path)
    wanted = expected(field) if field else "another value"
    source = "".join(f", from ${{{name}}}" for name in setting.variables)
    where = f"{setting.place}: {setting.key}"
    if setting.place == OPTIONS:
        where, wanted = _option(setting.key), wanted.removesuffix(" or null")
    return f"{where}: {shown(setting)} is not accepted (expected {wanted}{source})"


def _option(key: str) -> str:
    """Return the option that sets a field: model.name -> --model-name.

    The options of a server and the cache of a model name no section: --base-url, --cache-dir.
    """
    own = key.removeprefix("server.") if key != "model.cache_dir" else "cache_dir"
    return f"--{own}".replace(".", "-").replace("_", "-")


def shown(setting: Setting) -> str:
    """Return the value as JSON for a message: short, and hidden when it looks like a secret."""
    if hides(setting):
        return HIDDEN
    value: Any = redacted({"value": setting.value})["value"]
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
