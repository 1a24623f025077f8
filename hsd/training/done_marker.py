"""done.json of a training: that it is finished, with what, and the digests of its adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError, TrainingError
from hsd.io.digests import FILES, digests, require_intact
from hsd.io.json_reader import read_object
from hsd.io.manifest import DONE
from hsd.model.adapter_folder import CONFIG, WEIGHTS

REQUIRED = ("processes", "steps", "exported_step", "validation_loss", "stopped_early")
LATER = ("chosen_by",)
"""Facts that earlier versions did not write."""


def done_facts(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what done.json says of a run whose adapter is in `folder`."""
    return {**facts, FILES: digests(folder, (CONFIG, WEIGHTS))}


def finished(folder: Path) -> dict[str, Any]:
    """Return the facts in done.json, once its adapter is there as it was written.

    Raises TrainingError when it is not, PreflightError when the file says too little.
    """
    done = read_object(folder / DONE)
    if absent := [name for name in REQUIRED if name not in done]:
        raise PreflightError(
            f"{folder / DONE}: says nothing of {absent[0]}, so it is not what a training wrote; "
            "remove it, and the same command goes on from the newest checkpoint."
        )
    again = "put it back, or remove done.json, and the same command makes it once more"
    if not (folder / WEIGHTS).is_file():
        raise TrainingError(f"{folder / WEIGHTS} is missing from a finished run; {again}.")
    require_intact(folder, TrainingError, again)
    return {name: done[name] for name in (*REQUIRED, *LATER) if name in done}
