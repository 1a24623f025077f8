"""What a cell's results depend on. The same content is the same cell: done once, never mixed.

config, code, data, base revision and image; each cell's is written beside its config.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hsd.config.train_config import TrainConfig
from hsd.data.data_files import digest
from hsd.data.data_sets import resolve_path
from hsd.errors import DataError, PreflightError
from hsd.io.hashes import sha256_json
from hsd.io.json_reader import read_object
from hsd.io.run_identity import differences
from slurm.cluster.profile import Profile
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.sweep.sweep import Cell, Sweep

Identity = dict[str, Any]
_SHOWN = 6
"""How many differences a message lists."""


def content_identity(
    cell: Cell, sweep: Sweep, profile: Profile, code: str, absent: Collection[str] = ()
) -> Identity:
    """Return the parts; `code` is the tree of the snapshot that the cell runs with.

    Rows that are known to be `absent` have no digest. Raises PreflightError when another file of
    rows does not exist.
    """
    files = row_files(cell.config, sweep, absent)
    digests = {file: digest(path) for file, path in files.items()}
    content = cell.config.model_dump(mode="json", exclude={"output_dir", "description"})
    return {
        "config": content,
        "evaluate": sweep.evaluate.model_dump(mode="json"),
        "merge": sweep.merge,
        "code": code,
        "data": {file: digests.get(file) for file in dict(_named(cell.config, sweep))},
        "image": profile.container.digest or profile.container.image,
    }


def base_identity(parts: Identity) -> Identity:
    """Return what an evaluation of a cell's untouched base depends on: nothing that is learned."""
    config = parts["config"]
    test_sets = {name: parts["data"][name] for name in parts["evaluate"]["sets"]}
    return {
        "config": {name: config[name] for name in ("model", "prompt")},
        "data": test_sets,
        **{name: parts[name] for name in ("evaluate", "code", "image")},
    }


def row_files(config: TrainConfig, sweep: Sweep, absent: Collection[str] = ()) -> dict[str, Path]:
    """Return the files of rows that a cell is trained and evaluated on, by how they were named.

    Those that are known to be `absent` are left out. Raises PreflightError when another does not
    exist.
    """
    named = {name: folder for name, folder in _named(config, sweep) if name not in absent}
    try:
        return {name: resolve_path(name, folder) for name, folder in named.items()}
    except DataError as error:
        raise PreflightError(f"{error}") from None


def absent_rows(cells: Iterable[Cell], sweep: Sweep) -> dict[str, str]:
    """Return why rows that cells name are not found on this machine, by name; {} where all are."""
    found = {}
    for name, folder in dict.fromkeys(n for cell in cells for n in _named(cell.config, sweep)):
        try:
            resolve_path(name, folder)
        except DataError as error:
            found[name] = str(error)
    return found


def _named(config: TrainConfig, sweep: Sweep) -> Iterator[tuple[str, Path | None]]:
    """Yield the name of each file of rows and the folder of named ones."""
    for name in (config.data.train_file, config.data.validation_file):
        if name:
            yield name, None
    yield from ((name, sweep.evaluate.data_dir) for name in sweep.evaluate.sets)


def hash_of(parts: Mapping[str, Any]) -> str:
    """Return the content hash that a cell's markers hold."""
    return sha256_json(parts)


def changed(folder: RunFolder, cell: str, parts: Identity) -> list[str]:
    """Return what differs from the cell as it was submitted before; nothing for a new one."""
    file = folder.identity(cell)
    return differences(read_object(file), parts) if file.exists() else []


def refuse_changes(folder: RunFolder, parts: Mapping[str, Identity]) -> None:
    """Raise PreflightError when a cell of the run is not what it was submitted as.

    One whose submission was taken back has done nothing yet, and may change.
    """
    known = {cell for one in submissions.read_submissions(folder.path) for cell in one.cells}
    lines = {cell: changed(folder, cell, own) for cell, own in parts.items() if cell in known}
    lines = {cell: found for cell, found in lines.items() if found}
    if not lines:
        return
    cell, found = next(iter(lines.items()))
    shown = "; ".join(_short(line) for line in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    further = len(lines) - 1
    # Cells that did not fit into the queue have not failed.
    cells = set(folder.cell_names()) if folder.run_json.exists() else set()
    failed = "" if cells - known else " --failed"
    others = f" ({further} more cell{'s' * (further > 1)} changed too)" if further else ""
    raise PreflightError(
        f"{folder.path}: cell '{cell}' was submitted with other content: {shown}{more}{others}. "
        f"Choose another name for the sweep, or `hsd resubmit {folder.name}{failed}`, which goes "
        "on with the code and the configs that were queued."
    )


def _short(line: str) -> str:
    """Shorten digests: the first signs are enough to see that they differ."""
    words = [w[:13] + '…"' if w.startswith('"') and len(w) > 60 else w for w in line.split()]
    return " ".join(words)
