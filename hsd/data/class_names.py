"""The names that a file gives to its classes, as the datasets library notes them.

A column of the type ClassLabel holds codes; which one is hate is for the file to say.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

_LISTS = ("List", "LargeList", "Sequence")
NO_LABEL = -1
"""The datasets library's code for `not labelled`, as in test splits whose labels are kept back."""


class ClassName(str):
    """A class by its name; it knows all the names that its file lists."""

    __slots__ = ("others",)
    others: tuple[str, ...]

    def __new__(cls, name: str, others: tuple[str, ...]) -> "ClassName":
        """Return `name`, one of `others`."""
        made = super().__new__(cls, name)
        made.others = others
        return made


class LostCode(int):
    """A number that may be the code of a class: the file names classes of a column it lacks."""

    column: str
    others: tuple[str, ...]

    def __new__(cls, code: int, column: str, others: tuple[str, ...]) -> "LostCode":
        """Return `code`, perhaps one of `others`, the classes of what was `column`."""
        made = super().__new__(cls, code)
        made.column, made.others = column, others
        return made


def with_names(features: Any) -> dict[str, Any]:
    """Return the columns that hold codes of named classes, at whatever depth."""
    if not isinstance(features, Mapping):
        return {}
    return {str(name): feature for name, feature in features.items() if _has_names(feature)}


def lost_class(features: Any, columns: Collection[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return a column of classes that is noted and not there, and its names; None without."""
    lost = (name for name in with_names(features) if name not in columns)
    found = next((name for name in lost if _is_class(features[name])), None)
    return None if found is None else (found, tuple(map(str, features[found]["names"])))


def features_of(metadata: Mapping[bytes, bytes] | None) -> Any:
    """Return the features in the metadata of an Arrow or Parquet schema; None without."""
    try:
        return json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def named(value: Any, feature: Any) -> Any:
    """Return a cell with names for its codes; None for a code that says `not labelled`.

    Raises ValueError for a code that no class has.
    """
    if isinstance(value, list):
        return [named(item, _item(feature)) for item in value]
    if isinstance(value, dict):
        fields = _item(feature)
        return {key: named(inner, _field(fields, key)) for key, inner in value.items()}
    if not _is_class(feature) or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    names = tuple(map(str, feature["names"]))
    if value == NO_LABEL:
        return None
    if value not in range(len(names)):
        raise ValueError(f"is {value}, but the file names {len(names)} classes: {', '.join(names)}")
    return ClassName(names[int(value)], names)


def _has_names(feature: Any) -> bool:
    if isinstance(feature, dict):
        return _is_class(feature) or any(map(_has_names, feature.values()))
    return isinstance(feature, list) and any(map(_has_names, feature))


def _is_class(feature: Any) -> bool:
    return (
        isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and bool(feature.get("names"))
    )


def _item(feature: Any) -> Any:
    """Return what a list holds; a list of structs is noted once and may be a struct of lists."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    if isinstance(feature, dict) and feature.get("_type") in _LISTS:
        return feature.get("feature")
    return feature


def _field(feature: Any, name: str) -> Any:
    return feature.get(name) if isinstance(feature, dict) else None
