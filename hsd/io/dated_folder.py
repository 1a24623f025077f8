"""Folders that are named after the time at which a run began: `run_YYYYMMDD_HHMMSS`."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError
from hsd.io.run_identity import differences, identity_of, require_own


def new_folder(output_dir: Path) -> Path:
    """Make and return `run_YYYYMMDD_HHMMSS`, of the next second that no other evaluation has."""
    at = datetime.now()
    while True:
        folder = output_dir / f"run_{at:%Y%m%d_%H%M%S}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            at += timedelta(seconds=1)
        except OSError as error:
            raise PreflightError(f"{folder}: cannot be written ({error.strerror}).") from None
        else:
            return folder


def stamp(folder: Path) -> str:
    """Return the time in a run folder's name, which the names of its files end with."""
    return folder.name.removeprefix("run_")


def existing_run(output_dir: Path, identity: Mapping[str, Any]) -> Path | None:
    """Return the folder of the run with this very identity, None without one.

    Raises PreflightError when `output_dir` is itself the folder of another run.
    """
    if identity_of(output_dir) is not None:
        require_own(output_dir, identity)
        return output_dir
    for folder in sorted(output_dir.glob("run_*"), reverse=True):
        known = identity_of(folder)
        if known is not None and not differences(known, identity):
            return folder
    return None
