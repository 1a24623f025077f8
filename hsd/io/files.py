"""Files that are whole or absent: written under a temporary name, fsynced and renamed."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, Any

from hsd.errors import PreflightError, did_you_mean

MODE = 0o600
"""Of files that hold people's posts. Not 0640: on many clusters all users are of one group. A mode
that somebody gave such a file stays."""
LEASE = ".lease"
"""What the files of a lease are called, or begin with: they say who works, and hold no work."""
_THREADS = 16
"""Each waits for the disk; ten times as fast as one file after another."""
_ONE_AT_A_TIME = Lock()
_UNFINISHED = re.compile(
    r"\..+\.(?:json|jsonl|csv|txt|html|md|safetensors|png|parquet)\.[a-z0-9_]{8}|\.adapter-[a-z0-9_]{8}"
)
"""What a write is called until it is whole, and the folder of an adapter that is being exported."""


@contextmanager
def atomic_file(path: Path, mode: str = "w", *, posts: bool = False) -> Iterator[IO[Any]]:
    """Yield a file that becomes `path` when the block ends well, and vanishes when it does not.

    One that holds people's `posts` is for its owner alone until he says otherwise (`MODE`).
    """
    with naming(path):
        if path.is_dir():  # the rename would refuse it too, under the temporary name
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        encoding = None if "b" in mode else "utf-8"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(
                handle, mode, encoding=encoding, newline=None if encoding is None else ""
            ) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(_mode_of_posts(path) if posts else 0o666 & ~_umask())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of a full disk within the block the file's name, which a write does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def appended(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file of posts to be written on behind its end; a new one is for its owner alone."""
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, MODE)
        with os.fdopen(handle, "ab+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


def move(file: Path, target: Path) -> None:
    """Put a whole file in the place of `target`, on the same disk; it survives a power cut."""
    with naming(target):
        file.replace(target)
        _sync_folder(target.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what writes left behind that were killed; whoever calls holds the folder's lease."""
    for path in folder.iterdir():
        if not _UNFINISHED.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _mode_of_posts(path: Path) -> int:
    """Return the mode of a file that holds posts: its own, where somebody chose one."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return MODE


def write_atomic(path: Path, text: str, *, posts: bool = False) -> None:
    """Write a whole text file, or nothing; `posts` as in `atomic_file`."""
    with atomic_file(path, posts=posts) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read, whole or not at all.

    Raises ValueError for a value that is not a number: JSON knows none, and other readers stop.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    write_atomic(path, text + "\n")


def write_json_files(values: Mapping[Path, Any]) -> None:
    """Write many files as `write_json` does, several at once; each is whole or absent.

    Raises what the first one that could not be written raises, when no more is being written.
    """
    for folder in dict.fromkeys(path.parent for path in values):
        folder.mkdir(parents=True, exist_ok=True)  # here: threads look at the umask below
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(write_json, values.keys(), values.values()))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]], *, posts: bool = False) -> None:
    """Write one JSON object a line, the whole file or nothing; `posts` as in `atomic_file`."""
    with atomic_file(path, posts=posts) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def is_empty(folder: Path) -> bool:
    """Return whether nothing is in a folder but what says who works there.

    A start that was killed in its very first write may have left that unfinished.
    """
    names = [path.name for path in folder.iterdir()]
    return all(name.startswith(LEASE) or _UNFINISHED.fullmatch(name) for name in names)


def require_space(folder: Path, needed_gb: float, what: str) -> None:
    """Raise PreflightError when the disk under `folder` has less than `needed_gb` free."""
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    if free_gb < needed_gb:
        raise PreflightError(
            f"{existing}: {free_gb:.2f} GB free, but {what} needs {needed_gb:.2f} GB; "
            "free some space or choose another folder."
        )


def require_folder(folder: Path, what: str) -> Path:
    """Return `folder`; raise PreflightError with near names when it does not exist."""
    if folder.is_dir():
        return folder
    siblings = [p.name for p in folder.absolute().parent.glob("*") if p.is_dir()]
    raise PreflightError(
        f"{what} {folder}: no such folder.{did_you_mean(folder.name, beside=siblings)}"
    )


def _umask() -> int:
    with _ONE_AT_A_TIME:  # it can only be read by setting it, and is the whole process's
        value = os.umask(0)
        os.umask(value)
    return value


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some shared file systems refuse, and that is fine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
