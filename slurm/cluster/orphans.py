"""An sbatch that goes on though hsd, which started it, was killed: its job may come any moment."""

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from slurm.cluster.client import LONGEST_REPLY_S

_POLL_S = 0.2


def wait_for_orphans(comments: Collection[str], longest_s: float = LONGEST_REPLY_S) -> None:
    """Wait until no program of this machine names one of our comments; kill what takes longer.

    An sbatch is waited for as long as a live hsd would wait.

    A busy controller may answer sbatch late. Its job is in the queue once sbatch has ended, and
    not before. Comments are unique, so that no other program is waited for, or killed.
    """
    end = time.monotonic() + longest_s
    while (left := orphans(comments)) and time.monotonic() < end:
        time.sleep(_POLL_S)
    for pid in left:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def orphans(comments: Collection[str]) -> list[int]:
    """Return the processes of this machine that have one of the comments as their argument."""
    wanted = {f"--comment={comment}".encode() for comment in comments}
    if not wanted:
        return []
    found = Path("/proc").glob("[0-9]*/cmdline")
    return [int(file.parent.name) for file in found if wanted & _words(file)]


def _words(cmdline: Path) -> set[bytes]:
    try:
        return set(cmdline.read_bytes().split(b"\0"))
    except OSError:  # it has ended a moment ago
        return set()
