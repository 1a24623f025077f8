"""Which processes belong to a job, and signals for them."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from fake_slurm import store


def of_job(raw: int) -> set[int]:
    """Return the pids that have the job in their environment, and all below them.

    Not the runners, which have it when a program was called in a job.
    """
    runners = {e["pid"] for job in store.read()["jobs"] for e in job["elements"]}
    mark = {f"FAKE_SLURM={store.root()}".encode(), f"SLURM_JOB_ID={raw}".encode()}
    return below(pid for pid, found in _environments() if mark <= found and pid not in runners)


def of_queue(folder: Path) -> set[int]:
    """Return the pids of everything that was started by the programs of one queue."""
    mark = f"FAKE_SLURM={folder}".encode()
    return below(pid for pid, environment in _environments() if mark in environment) - {os.getpid()}


def below(pids: Iterable[int]) -> set[int]:
    """Return the pids and those of their children's children."""
    found, parents = set(pids), _parents()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found & set(parents)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that waits to be reaped does not."""
    return parent(pid) is not None


def parent(pid: int) -> int | None:
    """Return the pid of a process's parent, None of one that is gone or waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = text.rpartition(") ")[2].split()[:2]
    return None if state in "ZX" else int(parent)


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def number(name: str) -> int:
    """Return the number of `USR2`, `SIGUSR2` or `12`."""
    return int(name) if name.isdigit() else signal.Signals[f"SIG{name.removeprefix('SIG')}"].value


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208


def _environments() -> Iterator[tuple[int, set[bytes]]]:
    for pid in _pids():
        with contextlib.suppress(OSError):
            yield pid, set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


def _parents() -> dict[int, int]:
    return {pid: found for pid in _pids() if (found := parent(pid)) is not None}
