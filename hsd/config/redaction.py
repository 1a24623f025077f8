"""Keep secrets out of everything that shows a config: `hsd config show`, manifests, errors."""

import os
import re
from collections.abc import Mapping
from typing import Any

from hsd.config.settings import Setting
from hsd.secrets import HIDDEN, holds_secret, is_secret_name, secret_values


def redacted(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a config's dict in which whatever looks like a secret is `***`.

    A text is hidden when its key or its content looks like a secret, or when it holds the value
    of an environment variable with such a name. Numbers stay: `max_new_tokens` is no secret.
    """
    return {key: _redacted(value, key) for key, value in config.items()}


def secret_keys(config: Mapping[str, Any], above: str = "") -> list[str]:
    """Return the dotted keys of the values that `redacted` would hide."""
    found: list[str] = []
    for key, value in config.items():
        dotted = f"{above}{key}"
        if isinstance(value, Mapping):
            found += secret_keys(value, f"{dotted}.")
        elif _redacted(value, key) != value:
            found.append(dotted)
    return found


def with_references(value: Any) -> Any:
    """Return a config's value with `${NAME}` for what a secret variable holds.

    So it can lie beside an adapter that people publish, and read again it is the same, where the
    variable is set.
    """
    names = secret_values()
    if not names:
        return value
    if isinstance(value, Mapping):
        return {key: with_references(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_references(inner) for inner in value]
    if not isinstance(value, str):
        return value
    held = re.compile("|".join(map(re.escape, names)))
    return held.sub(lambda found: f"${{{names[found[0]]}}}", value)


def hides(setting: Setting) -> bool:
    """Return whether the setting came from a variable, or stands at a key, named like a secret."""
    if isinstance(setting.value, str) and is_secret_name(setting.key):
        return True
    return any(map(is_secret_name, setting.variables))


def _redacted(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {inner: _redacted(item, inner) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, key) for item in value]
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    return HIDDEN if text and (is_secret_name(key) or holds_secret(text)) else value
