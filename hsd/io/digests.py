"""What a marker that is written last holds of the files that it stands for: the sha256 of each.

Looked at when they are read again, so that a flipped bit or a lost row is one line and no result.
A marker without digests is of an hsd that noted none: there is nothing to hold its files to.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from hsd.errors import HsdError, PreflightError
from hsd.io.hashes import sha256_file
from hsd.io.json_reader import read_object
from hsd.io.manifest import DONE

COMPLETE = "complete.json"
"""Marks a whole checkpoint, as done.json marks a finished run."""
FILES = "files"
"""The key of a marker that the digests are under."""


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of files by their names in a folder.

    Reads every byte: 1 to 3 seconds a GB. An adapter has 15 KB to 100 MB, the state of its
    optimizer twice that.
    """
    return {name: sha256_file(folder / name) for name in sorted(names)}


def recorded_digests(folder: Path, marker: str | None = None) -> Mapping[str, str]:
    """Return the digests in a folder's marker, its own for a run or a checkpoint; {} without any.

    Raises PreflightError when the marker cannot be read.
    """
    known = (marker,) if marker else (DONE, COMPLETE)
    path = next((folder / name for name in known if (folder / name).exists()), None)
    found = (read_object(path).get(FILES) if path else None) or {}
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise PreflightError(f"{path}: {FILES}: expected the sha256 of each file by its name.")
    return found


def damage(folder: Path, marker: str | None = None) -> str | None:
    """Return which file of a folder is not what its marker says, None where all are."""
    for name, digest in recorded_digests(folder, marker).items():
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        try:
            found = sha256_file(file)
        except OSError as error:  # a bad block of a disk
            return f"{file} cannot be read ({error.strerror})"
        if found != digest:
            return f"{file} is not as it was written (its sha256 is another)"
    return None


def require_intact(folder: Path, problem: type[HsdError], instead: str) -> None:
    """Raise a `problem` where a file is not what the marker says; `instead` says what works."""
    if found := damage(folder):
        raise problem(f"{found}; {instead}.")
