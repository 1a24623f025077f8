"""Files of one JSON object a line that grow while a process works, and may break off in a line.

A row is there when its newline is. A process that dies while writing leaves at most a last line
without one; that line is dropped on reading and overwritten by the next append.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hsd.io.files import appended


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows behind those that are there, on disk when this returns."""
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    with appended(path) as file:
        file.truncate(_whole(path))
        file.write("".join(f"{line}\n" for line in lines).encode())


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines that have their newline; a file that is not there has none."""
    if not path.exists():
        return []
    return path.read_bytes()[: _whole(path)].split(b"\n")[:-1]


def _whole(path: Path) -> int:
    """Return the length in bytes of the part that ends with a newline."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        # The common case, without reading a long file again for every batch.
        if size == 0 or (file.seek(size - 1) >= 0 and file.read(1) == b"\n"):
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1
