"""Folders that are named after the time at which a run began: `run_YYYYMMDD_HHMMSS`."""

from datetime import datetime, timedelta
from pathlib import Path

from hsd.errors import PreflightError


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
