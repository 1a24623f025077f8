"""What people read of a config: every value with the place it came from, and what differs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hsd.config.loading import Resolved
from hsd.config.settings import FieldPath, behind
from hsd.config.train_config import TrainConfig

_COLUMN = 44


def annotated_yaml(resolved: Resolved[TrainConfig]) -> str:
    """Return the whole config as YAML; a comment says where each value was set."""
    notes = [f"# {note}" for note in resolved.notes]
    return "\n".join([*notes, *_lines(resolved, resolved.shown())]) + "\n"


def differing(resolved: Resolved[TrainConfig]) -> dict[str, Any]:
    """Return the fields that are not at their default: `{"lora.rank": 64}`."""
    default = dict(_leaves(TrainConfig().model_dump(mode="json")))
    leaves = _leaves(resolved.shown())
    return {
        ".".join(path): value
        for path, value in leaves
        if path != ("description",) and (path not in default or default[path] != value)
    }


def _leaves(tree: Mapping[str, Any], above: FieldPath = ()) -> Iterator[tuple[FieldPath, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _lines(
    resolved: Resolved[TrainConfig], tree: Mapping[str, Any], above: FieldPath = ()
) -> Iterator[str]:
    for name, value in tree.items():
        path, indent = (*above, name), "  " * len(above)
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(resolved, value, path)
        else:
            # A JSON value is a YAML value; json writes 1e-05 where yaml would write a text.
            line = f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"
            yield f"{line:<{_COLUMN}}  # {_origin(resolved, path)}"


def _origin(resolved: Resolved[TrainConfig], path: FieldPath) -> str:
    setting = behind(resolved.settings, path)
    if setting is None:
        return "default"
    older = "" if path == tuple(setting.key.split(".")) or setting.value == {} else setting.key
    variables = " ".join(f"${{{name}}}" for name in setting.variables)
    return ", ".join(part for part in (setting.place, older, variables) if part)
