"""Find a profile or sweep by its name or path, and read it strictly.

What is wrong in one is refused before anything is submitted: hsd.config finds it and words it,
here it becomes a PreflightError.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from hsd.config.fields import expected, field_at, leaf_paths
from hsd.config.problems import Config, faults, refusal, shown, validated
from hsd.config.redaction import secret_keys
from hsd.config.settings import FieldPath, Setting, Settings
from hsd.config.strict import Folder
from hsd.errors import ConfigError, PreflightError, did_you_mean
from hsd.secrets import holds_secret

KEPT_SECRET = (
    "looks like a secret, which the run's folder would keep; write it to a file with mode 0600 and "
    'name that in the profile, such as [secrets] HF_TOKEN_PATH = "~/.cache/huggingface/token"'
)
_SPACE = ord(" ")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file, and how messages call it."""

    file: Path
    place: str
    """A shipped file's name, or the path as it was given."""


@contextmanager
def refused_before_work() -> Iterator[None]:
    """Turn a ConfigError into a PreflightError of the same words."""
    try:
        yield
    except ConfigError as error:
        raise PreflightError(str(error)) from None


def known(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the TOML files of the folders by name; of two with one name the first counts."""
    files = [file for folder in reversed(folders) for file in folder.glob("*.toml")]
    return dict(sorted({file.stem: file for file in files}.items()))


def find_toml(kind: str, name: str, folders: Sequence[Path]) -> TomlFile:
    """Return the file of a name or path. Raises ConfigError with what is there."""
    named = known(folders)
    if name in named:
        return TomlFile(named[name], named[name].name)
    file = Path(name).expanduser()
    if file.is_file():
        return TomlFile(file, str(file))
    if "/" not in name and not file.suffix:
        hint = did_you_mean(name, named)
        raise ConfigError(f"unknown {kind} '{name}'.{hint} A file's path works.")
    around = [f.name for f in file.parent.glob("*.toml")]
    near = did_you_mean(file.name, beside=around)
    raise ConfigError(f"{file}: no such file.{near} {kind.capitalize()}s: {', '.join(named)}.")


def typed(model: type[Config], settings: Settings) -> Config:
    """Return the model of settings. Raises ConfigError, one line, for everything that is wrong."""
    problems = [*_broken_lines(settings), *_tables(model, settings)]
    if problems := problems or faults(model, settings):
        raise refusal(problems)
    return validated(model, settings)


def takes(model: type[BaseModel], path: FieldPath) -> str:
    """Say what the field at `path` takes, in words."""
    field = field_at(model, path)
    assert field is not None, path
    if get_origin(field.annotation) is not dict:
        return expected(field)
    return f"a section of names and {'texts' if _of_texts(model, path) else 'values'}"


def looks_secret(value: Any) -> bool:
    """Return whether a value holds what looks like a token, or the value of a secret variable."""
    values = value if isinstance(value, list) else [value]
    return any(isinstance(v, str) and holds_secret(v) for v in values)


def refuse_secrets(config: Mapping[str, Any]) -> None:
    """Raise ConfigError when a value that a run's folder would keep looks like a secret."""
    if found := secret_keys(config):
        raise ConfigError(f"{', '.join(found)}: {KEPT_SECRET}.")


def wrong(setting: Setting, wanted: str) -> str:
    """Return the line for a setting of the wrong form; `wanted` says what was expected."""
    place = f"{setting.place}: {setting.key}"
    return f"{place}: {shown(setting)} is not accepted (expected {wanted})"


def _tables(model: type[BaseModel], settings: Settings) -> Iterator[str]:
    """Yield what is wrong in sections of names and texts, of which pydantic's word is "dict"."""
    for table in (path for path in leaf_paths(model) if _of_texts(model, path)):
        for path, setting in settings.items():
            if path[: len(table)] != table or setting.value == {}:
                continue
            if len(path) != len(table) + 1:
                yield wrong(setting, "a section of names and texts")
            elif not isinstance(setting.value, str):
                yield wrong(setting, "a text, in quotes")


def _of_texts(model: type[BaseModel], path: FieldPath) -> bool:
    """Return whether the field at `path` is a section whose keys the user names, of texts."""
    field = field_at(model, path)
    kind = field.annotation if field else None
    return get_origin(kind) is dict and get_args(kind)[1] in (str, Folder)


def _broken_lines(settings: Settings) -> Iterator[str]:
    """Yield the texts that would become two lines of a job's script."""
    for path, setting in settings.items():
        texts = setting.value if isinstance(setting.value, list) else [setting.value]
        lines = [text for text in texts if isinstance(text, str) and path != ("description",)]
        if any(ord(letter) < _SPACE for line in lines for letter in line):
            yield wrong(setting, "one line, without control characters")
