"""Whose folder a run's folder is: its identity is written first, and another run is refused."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError
from hsd.io.files import is_empty, write_json
from hsd.io.hashes import sha256_text
from hsd.io.json_reader import read_object

IDENTITY = "identity.json"
MODEL_FILES = "model_files"
"""The part of an identity that has digests of a local base's config, tokenizer and template."""
ADAPTER_SETTINGS = "adapter_config_sha256"
"""The part that has a digest of the settings of an adapter that is merged."""
_LATER = {MODEL_FILES, ADAPTER_SETTINGS}
"""Parts that an earlier hsd did not write."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def set_name(data_file: str) -> str:
    """Return the folder's name for a value of --data-file; two files of one name stay apart."""
    if _SAFE.fullmatch(data_file):
        return data_file
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(data_file).stem).lstrip(".") or "set"
    return f"{stem}-{sha256_text(data_file)[:8]}"


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return one line for each leaf that differs: `training.batch_size: 4 -> 8`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted(old.keys() | new.keys())
        parts = (differences(old.get(k), new.get(k), f"{path}.{k}".lstrip(".")) for k in keys)
        return [line for part in parts for line in part]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


Remedies = Mapping[str, Callable[[Any, Any], str]]
"""For parts of an identity that no setting of the run decides: from the old and the new value, what
to do so that it goes on as it began."""


def identity_of(folder: Path) -> dict[str, Any] | None:
    """Return what the run in `folder` says it is; None where none began."""
    file = folder / IDENTITY
    return read_object(file) if file.exists() else None


def as_known(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return `wanted` without the parts that `known`, of an earlier hsd, is silent of.

    What a run does not say is unknown, and makes no other run of it.
    """
    silent = _LATER - known.keys()
    return {part: value for part, value in wanted.items() if part not in silent}


def require_own(
    folder: Path,
    identity: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    remedies: Remedies | None = None,
    setting: str = "output_dir",
) -> None:
    """Check that `folder` is new or empty, or home of the very run that `identity` describes.

    `known` is the identity of the run in it, by default as its file says it; `setting` is what the
    folder was chosen with. Raises PreflightError, saying which parts differ, when the folder
    belongs to another run, and when it holds other people's files.
    """
    known = known or identity_of(folder)
    if known is not None:
        new = as_known(known, json.loads(json.dumps(identity, default=str)))
        if lines := differences(known, new):
            raise PreflightError(_another(folder, lines, known, new, remedies or {}, setting))
    elif folder.is_file():
        raise PreflightError(f"{folder} is a file; {setting} must be a folder.")
    elif folder.is_dir() and not is_empty(folder):
        raise PreflightError(f"{folder} is not empty and not a run of hsd; choose another folder.")


def claim(
    folder: Path,
    identity: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    remedies: Remedies | None = None,
    setting: str = "output_dir",
) -> None:
    """Make `folder` the home of the run that `identity` describes, or check that it is.

    Done when everything that can be refused has been, so that a refused run leaves no folder.
    Raises PreflightError as `require_own`, and when the folder cannot be written.
    """
    require_own(folder, identity, known, remedies, setting)
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
    setting: str,
) -> str:
    """Return the sentence that refuses a folder: its settings differ, or only where it runs."""
    parts = [part for part in known.keys() | new.keys() if known.get(part) != new.get(part)]
    if not all(part in remedies for part in parts):
        return (
            f"{folder} belongs to another run; differs in {'; '.join(lines)}. "
            f"Choose another {setting}, or the settings it was started with."
        )
    how = " and ".join(remedies[part](known.get(part), new.get(part)) for part in sorted(parts))
    return (
        f"{folder} was begun otherwise and cannot go on so: {'; '.join(lines)}. To go on as it "
        f"began, {how}; or choose another {setting} to start anew."
    )
