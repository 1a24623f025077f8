"""Logs on a terminal: as they were written, under a line that names the file."""

import time
from pathlib import Path

from jobs.terminal.output import echo, echo_text
from slurm.cluster.client import Slurm
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder
from slurm.run.run_state import RunState, states
from slurm.watch.log_files import attempt, first_error, log_files, read_log

POLL_S = 1.0
ASK_EVERY = 15
"""Polls without a new line after which SLURM is asked whether the element has ended."""


def list_logs(state: RunState) -> None:
    """Print where the logs of each cell and stage are."""
    for element in state.shown:
        for path in log_files(state.folder, element):
            echo(f"{element.cell}/{element.stage} ({element.state}): {path}")


def show_logs(
    run: RunFolder, element: Element, *, first_error_only: bool, number: int | None
) -> None:
    """Print an element's logs: of one attempt, or of all; whole, or from the first error on."""
    for path in log_files(run, element):
        text = read_log(path) if number is None else attempt(read_log(path), number)
        text = first_error(text) if first_error_only else text
        if text.strip():
            echo(f"==> {path} <==")
            echo_text(text.rstrip("\n"))


def follow_logs(run: RunFolder, element: Element, slurm: Slurm | None) -> None:
    """Print what is written to an element's logs from now on, until the element has ended."""
    read_to = {path: path.stat().st_size for path in log_files(run, element)}
    quiet = 0
    while True:
        grown = _print_new(run, element, read_to)
        quiet = 0 if grown else quiet + 1
        if quiet % ASK_EVERY == ASK_EVERY - 1 and not _lives(run, element, slurm):
            return
        time.sleep(POLL_S)


def _print_new(run: RunFolder, element: Element, read_to: dict[Path, int]) -> bool:
    grown = False
    for path in log_files(run, element):  # new ones too: it may not have begun yet
        with path.open("rb") as file:
            file.seek(read_to.get(path, 0))
            new = file.read()
        read_to[path] = read_to.get(path, 0) + len(new)
        if new:
            echo_text(new.decode("utf-8", errors="replace"), nl=False)
            grown = True
    return grown


def _lives(run: RunFolder, element: Element, slurm: Slurm | None) -> bool:
    now = states(run.path, slurm).elements
    return any(one.job == element.job and one.live for one in now)
