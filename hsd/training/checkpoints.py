"""Checkpoints that are whole: a marker is written last, and only marked ones are resumed.

The marker holds the sha256 of every file, which is looked at before a run goes on.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hsd.errors import PreflightError
from hsd.io.digests import COMPLETE, FILES, damage, digests
from hsd.io.files import remove_unfinished, write_json
from hsd.io.json_reader import read_object

MARKER = COMPLETE
BEST = "best"
"""Folder of the best adapter so far, by the metric that selects."""
NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Newest:
    """The checkpoint to go on from: None for a new run, or where `refusal` says why there is none.

    `notes` name what is damaged and passed over.
    """

    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()
    refusal: str | None = None


def mark_complete(folder: Path, step: int) -> None:
    """Flush every file of a checkpoint to disk, then write its marker with the digest of each.

    Called when all ranks have written theirs. Its bytes are read once more, from memory mostly: a
    second or so for the 300 MB of a large adapter.
    """
    (folder / MARKER).unlink(missing_ok=True)  # of an earlier save: its digests are other files'
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    names = [str(file.relative_to(folder)) for file in files]
    write_json(folder / MARKER, {"step": step, FILES: digests(folder, names)})


def newest_intact(run: Path) -> Newest:
    """Return the newest checkpoint of a run whose files are as they were written.

    An older one is as good: a run that goes on from it ends with the same adapter. The best
    adapter so far lies beside the checkpoints; where that one is damaged, those from before it was
    found make it again.
    """
    complete = [folder for folder in _checkpoints(run) if (folder / MARKER).is_file()]
    notes = []
    if lost := _damaged(run / BEST):
        notes.append(lost)
        since = _step_in(run / BEST)
        complete = [folder for folder in complete if step_of(folder) < since]
    for folder in sorted(complete, key=step_of, reverse=True):
        if (found := _damaged(folder)) is None:
            went_on = tuple(f"{note}; going on from {folder.name} instead." for note in notes)
            return Newest(folder, went_on)
        notes.append(found)
    if not notes:
        return Newest()
    return Newest(
        refusal=f"{'; '.join(notes)}; and no older checkpoint is whole. Put back the file from a "
        "copy, or choose another output_dir to train anew."
    )


def put_best(run: Path, step: int, write: Callable[[Path], None]) -> None:
    """Let `write` put the best adapter so far into its folder, and mark it.

    Without a marker meanwhile: a kill in between leaves a whole adapter, that no digest is of.
    """
    (run / BEST / MARKER).unlink(missing_ok=True)
    write(run / BEST)
    mark_complete(run / BEST, step)


def damaged_best(run: Path, step: int) -> str | None:
    """Return why a run's best adapter is not that of `step` as it was written, None where it is.

    A marker that names no step, as that of an earlier hsd may, is held to its digests alone.
    """
    if found := _damaged(run / BEST):
        return found
    if (held := _step_in(run / BEST)) not in (0, step):
        return f"{run / BEST} holds the adapter of step {held}"
    return None


def _damaged(folder: Path) -> str | None:
    """Return what is wrong with a marked folder in words; None too where nothing is known of it."""
    try:
        return damage(folder, MARKER)
    except PreflightError as error:
        return str(error).rstrip(".")


def _step_in(folder: Path) -> int:
    """Return the step in a folder's marker; 0, before every checkpoint, where it says none."""
    try:
        step = read_object(folder / MARKER).get("step")
    except PreflightError:
        return 0
    return step if isinstance(step, int) else 0


def remove_incomplete(run: Path) -> None:
    """Delete what a killed save left behind: half a checkpoint, and half of a best adapter."""
    if (run / BEST).is_dir():
        remove_unfinished(run / BEST)
    for folder in _checkpoints(run):
        if not (folder / MARKER).is_file():
            shutil.rmtree(folder)


def remove_old(run: Path, keep: int) -> None:
    """Delete all complete checkpoints but the `keep` newest.

    By their steps: the Trainer's own rotation goes by file times, which a copy changes.
    """
    complete = [folder for folder in _checkpoints(run) if (folder / MARKER).is_file()]
    for folder in sorted(complete, key=step_of)[:-keep]:
        (folder / MARKER).unlink()  # first: what a kill leaves of the rest is no checkpoint
        shutil.rmtree(folder)


def step_of(checkpoint: Path) -> int:
    """Return the optimiser step in a checkpoint's name."""
    match = NAME.fullmatch(checkpoint.name)
    assert match is not None, checkpoint
    return int(match[1])


def _checkpoints(run: Path) -> list[Path]:
    return [p for p in run.glob("checkpoint-*") if p.is_dir() and NAME.fullmatch(p.name)]
