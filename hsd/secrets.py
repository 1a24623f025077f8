"""What is a secret, by its name and by its content: the one list for all that hsd writes.

Manifests, config.json, messages, profiles, the environment of jobs and of containers.
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache

HIDDEN = "***"
_NAME = re.compile(
    # TOKENIZERS_PARALLELISM is a setting of a library, PWD the folder one is in.
    r"token(?!iz)|secret|passw|passphrase|sshpass|credential|api_?key|access_?key|private_?key"
    r"|database_url|connection_string|webhook|cookie"
    r"|_(key|pass|pwd|pw|pat|dsn|auth)$|(^|_)jwt(_|$)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"_(path|file|dir)$", re.IGNORECASE)
"""HF_TOKEN_PATH says where a token is, not what it is."""
_IN_URL = r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|(?<=http://)[^/\s@]+(?=@)|(?<=https://)[^/\s@]+(?=@)"
_CONTENT = re.compile(
    # As long as real ones, or /scratch/hf_datasets and sk-learn-runs would be secrets.
    r"\bhf_[A-Za-z0-9]{20,}\b"
    r"|\bsk-(?=[\w-]*\d)[\w-]{20,}"
    r"|\bgh[opsu]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bAKIA[A-Z0-9]{16}\b"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bAIza[\w-]{35}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?s:.*)"
    rf"|{_IN_URL}"
)
_DOUBTFUL = re.compile(r"_(key|auth|dsn)$", re.IGNORECASE)
"""MODEL_KEY=openai/gpt-oss-20b is none: behind such a name a text with a slash is no secret."""
_SHORTEST = 8
"""A shorter value of, say, MY_TOKEN may stand in a config by chance ("auto")."""


def is_secret_name(name: str) -> bool:
    """Return whether what is called so is likely a secret; HF_TOKEN_PATH holds a place."""
    return bool(_NAME.search(name)) and not _PLACE.search(name)


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable is a secret, by its name or by what it holds."""
    if _CONTENT.search(value):
        return True
    return is_secret_name(name) and not (_DOUBTFUL.search(name) and "/" in value)


def holds_secret(text: str) -> bool:
    """Return whether a text holds what looks like a secret, or the value of a secret variable."""
    return bool(_CONTENT.search(text)) or any(value in text for value in secret_values())


def hidden(text: str) -> str:
    """Return a message in which what looks like a secret is `***`: `https://***@host/x`."""
    for value in secret_values():
        text = text.replace(value, HIDDEN)
    return _CONTENT.sub(HIDDEN, text)


def secret_values(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the values of secret variables and their names, the longest value first."""
    return dict(_secret_values(tuple((os.environ if environ is None else environ).items())))


@lru_cache(maxsize=1)  # a sweep of 1,000 cells asks for the same variables 20,000 times
def _secret_values(variables: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    found = {
        value: name
        for name, value in variables
        if len(value) >= _SHORTEST and "${" not in value and is_secret(name, value)
    }
    return tuple(sorted(found.items(), key=lambda pair: -len(pair[0])))


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without its secrets, and without what repeats the value of one."""
    values = secret_values(environ)
    return {
        name: value
        for name, value in environ.items()
        if not is_secret_name(name)
        and not _CONTENT.search(value)
        and not any(secret in value for secret in values)
    }
