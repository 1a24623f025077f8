"""A run's folder: the only database, and the only interface between the phases.

Everything is written to a temporary name, fsynced and renamed, so a file is whole or absent.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from hsd.errors import HsdError, PreflightError, did_you_mean

MANIFEST = "manifest.json"
IDENTITY = "identity.json"
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
LEASE = ".lease"
"""What the files of a lease are called, or begin with: they say who works, and hold no work."""
MODE = 0o600
"""Of files that hold people's posts. Not 0640: on many clusters all users are of one group. A mode
that somebody gave such a file stays."""
_UNFINISHED = re.compile(
    r"\..+\.(?:json|jsonl|csv|txt|html|md|safetensors|png)\.[a-z0-9_]{8}|\.adapter-[a-z0-9_]{8}"
)
"""What a write is called until it is whole, and the folder of an adapter that is being exported."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", "numpy")


@contextmanager
def atomic_file(path: Path, mode: str = "w", *, posts: bool = False) -> Iterator[IO[Any]]:
    """Yield a file that becomes `path` when the block ends well, and vanishes when it does not.

    One that holds people's `posts` is for its owner alone until he says otherwise (`MODE`).
    """
    with naming(path):
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


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]], *, posts: bool = False) -> None:
    """Write one JSON object a line, the whole file or nothing; `posts` as in `atomic_file`."""
    with atomic_file(path, posts=posts) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def parse_json(
    text: str | bytes, place: str, problem: type[HsdError] = PreflightError, **options: Any
) -> Any:
    """Return the value of a JSON text; `options` are those of `json.loads`.

    Raises a `problem` that begins with `place`, whatever the text is: a damaged or hostile file is
    no bug of ours.
    """
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text, **options)
    except json.JSONDecodeError as error:
        raise problem(f"{place}:{error.lineno}: not JSON ({error.msg}).") from None
    except UnicodeDecodeError as error:
        raise problem(f"{place}: not JSON (byte {error.start} is not UTF-8).") from None
    except RecursionError:
        raise problem(f"{place}: not JSON that hsd reads (nested too deep).") from None
    except ValueError:  # Python reads no number of more than 4,300 digits: it takes too long
        raise problem(f"{place}: not JSON that hsd reads (a number has too many digits).") from None


def read_json(path: Path) -> Any:
    """Return the parsed file. Raises PreflightError when it is absent, unreadable or not JSON."""
    return parse_json(_bytes(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises PreflightError as `read_json`, and for no object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise PreflightError(f"{path}: expected a JSON object, found {_kind(value)}.")
    return value


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one a line.

    A last line without its newline may be half written: its process may have died, or still go on.
    Raises PreflightError, naming the line, for any other that is no JSON object.
    """
    *lines, last = _bytes(path).split(b"\n")
    rows = [
        _object(line, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    with suppress(PreflightError):
        rows.append(_object(last, str(path)))
    return rows


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
                found = _kind(content[part])
                raise PreflightError(f"{path}: {part}: expected {what}, found {found}.")
    return content


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PreflightError(f"{path}: no such file; is {path.parent} a finished run?") from None
    except OSError as error:
        raise PreflightError(f"{path}: cannot be read ({error.strerror}).") from None


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = parse_json(line, place)
    except PreflightError:
        value = None
    if not isinstance(value, dict):
        raise PreflightError(f"{place}: not a JSON object; expected one a line.")
    return value


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


def sha256_text(text: str) -> str:
    """Return the hex digest of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the digest of a JSON value; the order of keys does not matter."""
    return sha256_text(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_name(data_file: str) -> str:
    """Return the folder's name for a value of --data_file; two files of one name stay apart."""
    if _SAFE.fullmatch(data_file):
        return data_file
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(data_file).stem).lstrip(".") or "set"
    return f"{stem}-{sha256_text(data_file)[:8]}"


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return one line for each leaf that differs: `training.batch_size: 4 -> 8`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted(old.keys() | new.keys())
        parts = (differences(old.get(k), new.get(k), f"{path}.{k}".lstrip(".")) for k in keys)
        return [line for part in parts for line in part]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def is_empty(folder: Path) -> bool:
    """Return whether nothing is in a folder but what says who works there.

    A start that was killed in its very first write may have left that unfinished.
    """
    names = [path.name for path in folder.iterdir()]
    return all(name.startswith(LEASE) or _UNFINISHED.fullmatch(name) for name in names)


Remedies = Mapping[str, Callable[[Any, Any], str]]
"""For parts of an identity that no setting of the run decides: from the old and the new value, what
to do so that it goes on as it began."""


def identity_of(folder: Path) -> dict[str, Any] | None:
    """Return what the run in `folder` says it is; None where none began."""
    file = folder / IDENTITY
    return read_object(file) if file.exists() else None


def require_own(
    folder: Path,
    identity: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    remedies: Remedies | None = None,
) -> None:
    """Check that `folder` is new or empty, or home of the very run that `identity` describes.

    `known` is the identity of the run in it, by default as its file says it. Raises
    PreflightError, saying which parts differ, when the folder belongs to another run, and when it
    holds other people's files.
    """
    known = known or identity_of(folder)
    if known is not None:
        new = json.loads(json.dumps(identity, default=str))
        if lines := differences(known, new):
            raise PreflightError(_another(folder, lines, known, new, remedies or {}))
    elif folder.is_file():
        raise PreflightError(f"{folder} is a file; output_dir must be a folder.")
    elif folder.is_dir() and not is_empty(folder):
        raise PreflightError(f"{folder} is not empty and not a run of hsd; choose another folder.")


def claim(
    folder: Path,
    identity: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    remedies: Remedies | None = None,
) -> None:
    """Make `folder` the home of the run that `identity` describes, or check that it is.

    Done when everything that can be refused has been, so that a refused run leaves no folder.
    Raises PreflightError as `require_own`, and when the folder cannot be written.
    """
    require_own(folder, identity, known, remedies)
    try:
        if not (folder / IDENTITY).exists():
            write_json(folder / IDENTITY, identity)
    except OSError as error:
        raise PreflightError(f"{folder}: cannot be written ({error.strerror}).") from None


def _another(
    folder: Path,
    lines: list[str],
    known: Mapping[str, Any],
    new: Mapping[str, Any],
    remedies: Remedies,
) -> str:
    """Return the sentence that refuses a folder: its settings differ, or only where it runs."""
    parts = [part for part in known.keys() | new.keys() if known.get(part) != new.get(part)]
    if not all(part in remedies for part in parts):
        return (
            f"{folder} belongs to another run; differs in {'; '.join(lines)}. "
            "Choose another output_dir, or the settings it was started with."
        )
    how = " and ".join(remedies[part](known.get(part), new.get(part)) for part in sorted(parts))
    return (
        f"{folder} was begun otherwise and cannot go on so: {'; '.join(lines)}. To go on as it "
        f"began, {how}; or choose another output_dir to start anew."
    )


def update_manifest(folder: Path, **parts: Any) -> dict[str, Any]:
    """Merge `parts` into the run's manifest.json and return the whole."""
    manifest = manifest_of(folder) | parts
    write_json(folder / MANIFEST, manifest)
    return manifest


def provenance() -> dict[str, Any]:
    """Return what is needed to repeat a run: command, code, packages, host, SLURM job, image."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: version for name in ("hsd", *PACKAGES) if (version := _version(name))},
        "git": _code_facts(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "slurm_job": {k: v for k, v in os.environ.items() if k in _SLURM},
        "image_digest": os.environ.get("HSD_IMAGE_DIGEST"),
    }


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


_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_CLUSTER_NAME",
)
_CODE = Path(__file__).parent.parent / "code.json"
"""Beside a copy of the package that was made for jobs: where the copy comes from."""
_FACTS = ("commit", "dirty", "tree")


def _umask() -> int:
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


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _code_facts() -> dict[str, Any] | None:
    """Return commit and dirty flag of the code that runs; of a copy also its digest, `tree`.

    A copy is not asked of git: it may lie in the checkout of something else.
    """
    if not _CODE.exists():
        return _git()
    return {name: fact for name, fact in read_object(_CODE).items() if name in _FACTS}


def _git() -> dict[str, Any] | None:
    """Return commit and dirty flag of the checkout this lies in; None outside of one."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": said.removesuffix("-dirty"), "dirty": said.endswith("-dirty")}
