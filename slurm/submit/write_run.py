"""What a run's folder gets before its jobs are submitted, for its owner alone."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from hsd.errors import InUseError, PreflightError
from hsd.io.files import is_empty, write_json, write_json_files
from hsd.io.lease import hold_lease
from hsd.io.provenance import now
from slurm.run import submissions
from slurm.run.folder_owner import refuse_open
from slurm.run.run_folder import RunFolder, remember
from slurm.submit.snapshot import require_unchanged, write_snapshot
from slurm.submit.submission import SubmissionBundle, for_owner_alone, next_submission_number
from slurm.submit.work import Found, Work
from slurm.watch.failed_nodes import remember_nodes


def write_run(found: Found) -> None:
    """Write everything that jobs read: configs, identities, code, and the run's own facts.

    Nothing of a cell that is in the queue is touched. What is done anew has no marker any more. The
    folder is for its owner alone.
    """
    work = found.work
    configs = {cell.name: cell.config for cell in work.cells}
    with private(work.folder.path):
        if found.code is not None:
            write_snapshot(found.code, work.folder.code)
        else:
            require_unchanged(work.code, "Put it back, or take today's code with --new-code.")
        for name in found.aside:
            set_aside(work.folder, name)
        for stage in found.left.plan.stages:
            for task in stage.tasks:
                # An evaluation of the training before would count as that of the new one.
                work.folder.done(task.cell, stage.of).unlink(missing_ok=True)
        # What is submitted later is a part of the run all the same, for `hsd resubmit`.
        later = [name for name in found.left.later if not work.folder.identity(name).exists()]
        names = [*found.left.new, *later]
        own = [name for name in names if name in configs]
        write_json_files(
            {work.folder.config(name): configs[name].model_dump(mode="json") for name in own}
            | {work.folder.identity(name): work.identities[name] for name in names}
        )
        write_json(work.folder.run_json, _facts(work))
        remember_nodes(work.folder.path, work.nodes)
    with suppress(OSError):  # a home that is full must not keep a run from starting
        remember(work.folder.path)


@contextmanager
def private(folder: Path) -> Iterator[None]:
    """Make a run's folder, and within the block let nobody else read what is made in it.

    Raises PreflightError where it cannot be written, or others could have written into it.
    """
    with for_owner_alone():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if is_empty(folder):
                folder.chmod(0o700)  # somebody made it before us
            refuse_open(folder)
            yield
        except OSError as error:
            raise PreflightError(
                f"{folder}: cannot be written ({error.strerror}); set shared_root in the profile "
                "to a folder of yours that all nodes see."
            ) from None


@contextmanager
def alone(prepared: SubmissionBundle, work: str, seen: int | None = None) -> Iterator[None]:
    """Hold the run's lease within the block, in which what was prepared is written and submitted.

    Raises InUseError while another process is at it, and when one was since it was prepared, or
    since submissions.jsonl was `seen` with so many lines: what is left to do is something else
    then, and its jobs would get the same files.
    """
    folder = prepared.plan.folder
    with ExitStack() as stack:
        with private(folder.path):
            stack.enter_context(hold_lease(folder.path, work))
        lines = len(submissions.submission_lines(folder.path))
        if next_submission_number(folder) != prepared.number or lines != (
            lines if seen is None else seen
        ):
            raise InUseError(
                f"{folder.path}: another process has submitted jobs of this run meanwhile; the "
                "same command again does what is left."
            )
        yield


def set_aside(folder: RunFolder, cell: str) -> Path:
    """Move a cell's output away, markers and all, and return where it is now.

    Whoever is killed meanwhile leaves a cell that can be read: the markers go first, as nothing
    counts as done without its files, and config and identity stay until new ones replace them.
    """
    home = folder.cell(cell)
    number = 1 + sum(1 for _ in home.glob("before-*"))
    aside = home / f"before-{number}"
    aside.mkdir()
    stays = {folder.config(cell), folder.identity(cell)}
    for path in sorted(home.iterdir(), key=lambda path: (path.suffix != ".json", path.name)):
        if path in stays:
            shutil.copyfile(path, aside / path.name)
        elif not path.name.startswith("before-"):
            path.rename(aside / path.name)
    return aside


def _facts(work: Work) -> dict[str, Any]:
    before = work.folder.facts() if work.folder.run_json.exists() else {}
    cells = {cell["name"]: cell for cell in before.get("cells", [])} | {
        cell.name: {"name": cell.name, "preset": cell.preset, "changes": cell.changes}
        for cell in work.cells
    }
    return {
        "kind": "sweep",
        "name": work.sweep.name,
        "source": work.source or before.get("source", work.sweep.name),
        "sweep": work.sweep.model_dump(mode="json"),
        "profile": work.profile.model_dump(mode="json"),
        "code": work.code.name,
        "cells": list(cells.values()),
        "created": before.get("created", now()),
    }
