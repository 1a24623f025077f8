"""What was written, where: configs as flat settings before they become a typed config.

A layer (a preset, a file, `--set`) is a mapping from a field's path to one `Setting`. Layers
are merged here, so that an error or `hsd config show` can name the place of every value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OPTIONS = "options"
"""The place of what a command's own options say."""
FieldPath = tuple[str, ...]
"""Where a field is: `("lora", "rank")`."""


@dataclass(frozen=True)
class Setting:
    """One value as somebody wrote it."""

    value: Any
    place: str
    """The file's name, `--set` or OPTIONS."""
    key: str
    """The key as written there: `lora.rank`, or an older `lora_r`."""
    variables: tuple[str, ...] = ()
    """Environment variables that the value was made of."""


Settings = dict[FieldPath, Setting]


def flatten(tree: Mapping[str, Any], place: str, above: FieldPath = ()) -> Settings:
    """Return the leaves of nested sections. An empty section stays a leaf of its own."""
    flat: Settings = {}
    for key, value in tree.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, place, path)
        else:
            flat[path] = Setting(value, place, ".".join(path))
    return flat


def merged(lower: Settings, upper: Settings) -> Settings:
    """Return both layers; `upper` wins, and replaces a whole section by a value or the reverse."""
    result = dict(lower)
    for path, setting in upper.items():
        inside = [p for p in result if p[: len(path)] == path and p != path]
        if setting.value == {} and inside:
            continue  # "early_stopping": {} only asks for the section, which is there already
        for shadowed in (*inside, *(path[:depth] for depth in range(1, len(path)))):
            result.pop(shadowed, None)
        result[path] = setting
    return result


def nested(settings: Settings) -> dict[str, Any]:
    """Return the settings' values as nested sections."""
    tree: dict[str, Any] = {}
    for path, setting in settings.items():
        section = tree
        for name in path[:-1]:
            section = section.setdefault(name, {})
        section[path[-1]] = setting.value
    return tree


def behind(settings: Settings, path: FieldPath) -> Setting | None:
    """Return the setting that decided `path`: its own, one above it or one inside it."""
    return settings.get(path) or next(all_behind(settings, path), None)


def all_behind(settings: Settings, path: FieldPath) -> Iterator[Setting]:
    """Yield the settings of `path`, above it and inside it."""
    for at, setting in settings.items():
        if at[: len(path)] == path or path[: len(at)] == at:
            yield setting
