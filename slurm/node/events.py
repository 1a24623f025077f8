"""What became of each attempt at a stage: one line of JSON an event, written by the supervisor.

Standard library only: the supervisor runs on the host's python.

A line is there when its newline is. A node that dies while writing leaves a torn line, which is
ignored; the next event begins a new line behind it.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OF_A_SIGNAL = 128
"""What a shell adds to the number of the signal that ended a command: its exit code."""


def record(path: Path, event: str, **facts: Any) -> None:
    """Append one event with the time in UTC; it is on disk when this returns."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    append_line(path, {"at": at, "event": event, **facts})


def attempts(path: Path) -> list[dict[str, Any]]:
    """Return the events in the order they were written; a file that is not there has none."""
    return [event for event in read_lines(path) if "event" in event]


def shell_code(code: int) -> int:
    """Return a shell's exit code for a process that a signal ended: 137 for -9."""
    return code if code >= 0 else OF_A_SIGNAL - code


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON object as a line of its own, and fsync it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        torn = b"\n" if _ends_torn(handle) else b""
        os.write(handle, torn + json.dumps(value, ensure_ascii=False).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines that are JSON objects, in order."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (_parsed(line) for line in text.split("\n")[:-1])
    return [value for value in found if isinstance(value, dict)]


def _ends_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
