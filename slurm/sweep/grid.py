"""The points of a grid, and what the cells at them are called."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination, the last key running fastest; one empty point of an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def point_names(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the names of `points(grid)`: `-rank=8-seed=1`, fit for a file's name."""
    axes = [
        [f"-{_label(key, grid)}={text}" for text in _texts(values)] for key, values in grid.items()
    ]
    return ["".join(parts) for parts in product(*axes)]


def preset_label(preset: str) -> str:
    """Return what a preset's cells are called: its name, or its file's."""
    return _safe(Path(preset).stem if "/" in preset else preset)


def _label(key: str, keys: Mapping[str, Any]) -> str:
    """Return the last part of a key; all of it where two keys end alike."""
    last = key.split(".")[-1]
    return key if sum(other.split(".")[-1] == last for other in keys) > 1 else last


def _texts(values: Sequence[Any]) -> list[str]:
    """Return the values for names. Of paths as many last parts as tell them apart."""
    if not all(isinstance(value, str) and value.startswith("/") for value in values):
        return [_safe(_text(value)) for value in values]
    parts = [Path(value).parts[1:] for value in values]
    depth = 1
    while depth < max(map(len, parts)) and len({p[-depth:] for p in parts}) < len(set(parts)):
        depth += 1
    return [_safe("_".join(p[-depth:])) for p in parts]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("_")
