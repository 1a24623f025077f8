"""What a cell's results depend on. The same content is the same cell: done once, never mixed.

config, code, data, base revision and image; each cell's is written beside its config.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.config.train import TrainConfig
from hsd.data.files import digest
from hsd.data.named import resolve_path
from hsd.errors import DataError, PreflightError
from hsd.runs import differences, read_json, sha256_json
from slurm import submissions
from slurm.profile import Profile
from slurm.run_folder import RunFolder
from slurm.sweep import Cell, Sweep

Identity = dict[str, Any]
_SHOWN = 6
"""How many differences a message lists."""


def identity(cell: Cell, sweep: Sweep, profile: Profile, code: str) -> Identity:
    """Return the parts; `code` is the tree of the snapshot that the cell runs with.

    Raises PreflightError when a file of rows does not exist.
    """
    content = cell.config.model_dump(mode="json", exclude={"output_dir", "description"})
    return {
        "config": content,
        "evaluate": sweep.evaluate.model_dump(mode="json"),
        "merge": sweep.merge,
        "code": code,
        "data": {file: digest(path) for file, path in row_files(cell.config, sweep).items()},
        "image": profile.container.digest or profile.container.image,
    }


def base_identity(parts: Identity) -> Identity:
    """Return what an evaluation of a cell's untouched base depends on: nothing that is learned."""
    config = parts["config"]
    judged_on = {name: parts["data"][name] for name in parts["evaluate"]["sets"]}
    return {
        "config": {name: config[name] for name in ("model", "prompt")},
        "data": judged_on,
        **{name: parts[name] for name in ("evaluate", "code", "image")},
    }


def row_files(config: TrainConfig, sweep: Sweep) -> dict[str, Path]:
    """Return the files of rows that a cell learns from and is judged on, by how they were named.

    Raises PreflightError when one does not exist.
    """
    named = [name for name in (config.data.train_file, config.data.validation_file) if name]
    try:
        learned = {name: resolve_path(name) for name in named}
        return learned | {
            name: resolve_path(name, sweep.evaluate.data_dir) for name in sweep.evaluate.sets
        }
    except DataError as error:
        raise PreflightError(f"{error}") from None


def hash_of(parts: Mapping[str, Any]) -> str:
    """Return the content hash that a cell's markers hold."""
    return sha256_json(parts)


def changed(folder: RunFolder, cell: str, parts: Identity) -> list[str]:
    """Return what differs from the cell as it was submitted before; nothing for a new one."""
    file = folder.identity(cell)
    return differences(read_json(file), parts) if file.exists() else []


def refuse_changes(folder: RunFolder, parts: Mapping[str, Identity]) -> None:
    """Raise PreflightError when a cell of the run is not what it was submitted as.

    One whose submission was taken back has done nothing yet, and may change.
    """
    known = {cell for one in submissions.read(folder.path) for cell in one.cells}
    lines = {cell: changed(folder, cell, own) for cell, own in parts.items() if cell in known}
    lines = {cell: found for cell, found in lines.items() if found}
    if not lines:
        return
    cell, found = next(iter(lines.items()))
    shown = "; ".join(_short(line) for line in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    further = len(lines) - 1
    others = f" ({further} more cell{'s' * (further > 1)} changed too)" if further else ""
    raise PreflightError(
        f"{folder.path}: cell '{cell}' was submitted with other content: {shown}{more}{others}. "
        f"Choose another name for the sweep, or `hsd resubmit {folder.name} --failed`, which goes "
        "on with the code and the configs that were queued."
    )


def _short(line: str) -> str:
    """Shorten digests: the first signs are enough to see that they differ."""
    words = [w[:13] + '…"' if w.startswith('"') and len(w) > 60 else w for w in line.split()]
    return " ".join(words)
