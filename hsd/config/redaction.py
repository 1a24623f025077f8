"""Keep secrets out of everything that shows a config: `hsd config show`, manifests, errors."""

import os
import re
from collections.abc import Mapping
from typing import Any

from hsd.config.settings import Setting

HIDDEN = "***"
_NAME = re.compile(r"token|secret|passw|api_?key|credential", re.IGNORECASE)
_CONTENT = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}\b"
    r"|\bsk-[A-Za-z0-9_-]{8,}"
    r"|\bgh[opsu]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bAKIA[A-Z0-9]{16}\b"
    r"|://[^/\s:@]+:[^/\s@]+@"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_SHORTEST = 8
"""A shorter value of, say, MY_TOKEN may stand in a config by chance ("auto")."""


def redacted(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a config's dict in which whatever looks like a secret is `***`.

    A text is hidden when its key or its content looks like a secret, or when it holds the value
    of an environment variable with such a name. Numbers stay: `max_new_tokens` is no secret.
    """
    values = [
        value
        for name, value in os.environ.items()
        if _NAME.search(name) and len(value) >= _SHORTEST
    ]
    return {key: _redacted(value, key, values) for key, value in config.items()}


def hides(setting: Setting) -> bool:
    """Return whether the setting came from a variable, or stands at a key, named like a secret."""
    if isinstance(setting.value, str) and _NAME.search(setting.key):
        return True
    return any(_NAME.search(name) for name in setting.variables)


def _redacted(value: Any, key: str, values: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {inner: _redacted(item, inner, values) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, key, values) for item in value]
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    secret = _NAME.search(key) or _CONTENT.search(text) or any(v in text for v in values)
    return HIDDEN if secret and text else value
