"""`${VAR}` and `${VAR:-default}` in every string of a config.

A resolved config contains no `${`: a reference that cannot be resolved is an error, and so is
a variable whose own value holds one. A run's config.json therefore reloads to what it was.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hsd.config.fields import field_at
from hsd.config.settings import FieldPath, Setting, Settings
from hsd.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def substituted(settings: Settings, model: type[BaseModel], environ: Mapping[str, str]) -> Settings:
    """Return the settings with every reference resolved.

    A value that is exactly one reference becomes the int, float or bool that `model` has there.
    Raises ConfigError naming the place, the key and the variable.
    """
    return {path: _substituted(setting, path, model, environ) for path, setting in settings.items()}


def _substituted(
    setting: Setting, path: FieldPath, model: type[BaseModel], environ: Mapping[str, str]
) -> Setting:
    variables = _names(setting.value)
    if not variables and "${" not in str(setting.value):
        return setting
    value = _resolved(setting.value, setting, environ)
    if isinstance(setting.value, str) and _REFERENCE.fullmatch(setting.value):
        value = _typed(value, model, path)
    return replace(setting, value=value, variables=variables)


def _names(value: Any) -> tuple[str, ...]:
    """Return the variables that a string, or the strings of a list, refer to."""
    texts = value if isinstance(value, list) else [value]
    found = (_REFERENCE.finditer(text) for text in texts if isinstance(text, str))
    return tuple(dict.fromkeys(match[1] for matches in found for match in matches))


def _resolved(value: Any, setting: Setting, environ: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_resolved(item, setting, environ) for item in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if default is not None and not environ.get(name):
            return str(default)
        if name not in environ:
            raise ConfigError(
                f"{setting.place}: {setting.key}: environment variable {name} is not set; "
                f"set it, or write ${{{name}:-default}}."
            )
        return environ[name]

    text = _REFERENCE.sub(look_up, value)
    if "${" in text:
        raise ConfigError(
            f"{setting.place}: {setting.key}: '${{' that is no reference (or one inside another); "
            "expected ${NAME} or ${NAME:-default}."
        )
    return text


def _typed(text: str, model: type[BaseModel], path: FieldPath) -> Any:
    """Return the number or truth value that the field takes; else the text, for it to refuse."""
    field = field_at(model, path)
    if field is None:
        return text
    try:
        value = TypeAdapter[Any](field.rebuild_annotation()).validate_python(text)
    except ValidationError:
        return text
    return value if isinstance(value, bool | int | float) else text
