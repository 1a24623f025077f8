"""manifest.json: what a run writes of itself, in parts that others read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import json_kind, read_object

MANIFEST = "manifest.json"
ADAPTER = "adapter_model.safetensors"
DONE = "done.json"
"""Written last: a training, evaluation or baseline with it is finished."""
_PARTS: Mapping[type, Sequence[str]] = {
    dict: (
        "adapter", "answering", "base", "config", "data", "figures", "init_from", "model",
        "prefix_sharing", "prompt", "result",
    ),
    list: ("halvings", "notes", "prevalences", "starts"),
}  # fmt: skip
"""Parts of a manifest that others read out of it, by their kind in JSON."""


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of the run or adapter in a folder; {} where it has none.

    Raises PreflightError when it cannot be read, or a part of it is of another kind than hsd
    writes.
    """
    path = folder / MANIFEST
    content = read_object(path) if path.exists() else {}
    for kind, parts in _PARTS.items():
        for part in parts:
            if not isinstance(content.get(part), kind | None):
                what = "an object" if kind is dict else "a list"
                found = json_kind(content[part])
                raise PreflightError(f"{path}: {part}: expected {what}, found {found}.")
    return content


def update_manifest(folder: Path, **parts: Any) -> dict[str, Any]:
    """Merge `parts` into the run's manifest.json and return the whole."""
    manifest = manifest_of(folder) | parts
    write_json(folder / MANIFEST, manifest)
    return manifest
