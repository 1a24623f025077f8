"""Relative paths of a training config made absolute: a job starts in another folder."""

import json
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.fields import path_fields
from hsd.config.model_config import PACKAGE
from hsd.config.train_config import TrainConfig
from hsd.data.data_sets import NAMES
from hsd.groups.group_set import shipped_groups
from hsd.prompts.template import shipped_templates


def anchored_config(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return the config with its paths relative to `folder` made absolute; names stay."""
    tree = config.model_dump(mode="json")
    for key in _FIELDS:
        *sections, last = key.split(".")
        inner = tree
        for name in sections:
            inner = inner[name]
        inner[last] = anchored(key, inner[last], folder)
    return TrainConfig.model_validate_json(json.dumps(tree), strict=True)


def anchored(key: str, value: Any, folder: Path) -> Any:
    """Return the value of a training's field, made absolute where the field holds a path."""
    return _anchored(_FIELDS.get(key), value, folder)


def anchored_evaluation(key: str, value: Any, folder: Path) -> Any:
    """Return the same of an evaluation's field."""
    return _anchored(_OF_EVALUATION.get(key), value, folder)


def _anchored(kind: str | None, value: Any, folder: Path) -> Any:
    if kind is None or not isinstance(value, str) or not value:
        return value
    return _MADE_ABSOLUTE[kind](value, folder)


def rows(value: str, folder: Path) -> str:
    """Return `embedded`, `unified` and the like as they are, and a file's path absolute."""
    return value if value in NAMES else _path(value, folder)


def _path(value: str, folder: Path) -> str:
    return str(folder.absolute() / Path(value).expanduser())


def _base(value: str, folder: Path) -> str:
    """Return a hub name as it is: only a folder that is there, or `./x`, is one."""
    if value.startswith(PACKAGE):
        return value
    path = _path(value, folder)
    return path if value.startswith((".", "~")) or Path(path).is_dir() else value


def _template(value: str, folder: Path) -> str:
    path = _path(value, folder)
    shipped = value.removesuffix(".json") in shipped_templates()
    return path if not shipped and Path(path).is_file() else value


def _groups(value: str, folder: Path) -> str:
    return value if value in shipped_groups() else _path(value, folder)


_MADE_ABSOLUTE = {
    "folder": _path,
    "rows": rows,
    "base": _base,
    "template": _template,
    "groups": _groups,
}
_FIELDS = path_fields(TrainConfig)
_OF_EVALUATION = path_fields(EvalConfig)
