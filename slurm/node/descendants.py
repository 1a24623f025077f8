"""The processes below a process, from /proc. Standard library alone: it runs on the host."""

import os
import signal
from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """Return the pids of all children, their children and so on, that run now."""
    children: dict[int, list[int]] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit() and (parent := _parent(folder)) is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def catches(pid: int, number: int, proc: Path = PROC) -> bool:
    """Return whether a process has a handler of its own for a signal.

    Others would die of it (a compiler that a rank has started) or ignore it (a launcher).
    """
    try:
        status = (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(masks) and bool(int(masks[0], 16) >> (number - 1) & 1)


def tell(pid: int, number: int) -> list[int]:
    """Send a signal to every descendant of `pid` that has a handler for it; return which."""
    told = []
    for child in descendants(pid):
        if catches(child, number):
            try:
                os.kill(child, signal.Signals(number))
            except ProcessLookupError:
                continue
            told.append(child)
    return told


def _parent(folder: Path) -> int | None:
    """Return the parent of a process; None for one that has ended meanwhile or is a zombie."""
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent = text[text.rindex(")") + 2 :].split()[:2]  # names may hold spaces and brackets
    return None if state in "ZX" else int(parent)
