"""CSV and TSV of any size: read some megabytes at a time, each part as a table of its own.

A table is read whole where that is possible, since how its quotes are meant is best told from all
of it. A part of some megabytes tells nearly as much, and a file may be larger than the memory.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from hsd.data import data_files
from hsd.data.delimited import table_rows
from hsd.data.json_rows import Numbered
from hsd.errors import DataError

LARGE_BYTES = 2**25
"""A file of more is read in parts; read whole, one takes some ten times its bytes of memory."""
_DOUBTFUL = re.compile(r'\\["\t,;|]|\\\r?\n|\t"|"\t')
"""What may be an escape, and quotes beside tabs."""
PART = 2**23
"""Characters of a part."""
MORE_LINES, TRIES = 1000, 10
"""A part that cannot be read may end within a quoted cell: it gets more lines, so often."""


def is_streamed(path: Path) -> bool:
    """Return whether a table is read in parts: it is large, and quoted in the one standard way.

    How backslashes, or quotes between tabs, are meant can only be told from all of a file. Such a
    file is read whole, whatever memory that takes: a part may tell another way than the next one.
    """
    return _is_large(path) and _is_plain(path)


def _is_plain(path: Path) -> bool:
    try:
        return not any(map(_DOUBTFUL.search, data_files.lines(path)))
    except DataError:  # not UTF-8: other encodings are told from the whole file
        return False


def _is_large(path: Path) -> bool:
    """Return whether a table takes much memory to be read whole; packed, it counts four times."""
    packed = path.name.lower().endswith(".gz")
    return path.stat().st_size * (4 if packed else 1) > LARGE_BYTES


def stream_table(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[Numbered]:
    """Yield the rows of CSV or TSV lines. Raises DataError as `table_rows`, for each part."""
    left = iter(lines)
    part = _part(left)
    head = _head(part)
    yield from _rows(path, part, left, delimiter)
    before = len(part)
    while part := _part(left):
        text = [*head, *part]
        shift = before - len(head)
        yield from ((n + shift, row) for n, row in _rows(path, text, left, delimiter, shift))
        before += len(text) - len(head)


def _part(lines: Iterator[str]) -> list[str]:
    """Return the next lines, about PART characters of them; [] at the end."""
    found, size = [], 0
    for line in lines:
        found.append(line)
        size += len(line)
        if size >= PART:
            break
    return found


def _head(part: Sequence[str]) -> list[str]:
    """Return the lines up to the header's end: what Excel says of the delimiter, and the names."""
    first = 1 if part and part[0].lower().lstrip('"').startswith("sep=") else 0
    count = first + 1
    while count < len(part) and "".join(part[first:count]).count('"') % 2:
        count += 1
    return list(part[:count])


def _rows(
    path: Path, part: list[str], left: Iterator[str], delimiter: str, shift: int = 0
) -> Iterator[Numbered]:
    """Yield the rows of a part, which takes the lines that its last row needs from those left."""
    for attempt in range(TRIES + 1):
        rows = table_rows(path, "".join(part), delimiter)
        try:
            first = next(rows, None)  # the whole part is read, or refused, before its first row
        except DataError as error:
            more = list(islice(left, MORE_LINES))
            if not more or attempt == TRIES:
                raise DataError(_moved(str(error), path, shift)) from None
            part += more
            continue
        if first is not None:
            yield first
        yield from rows
        return


def _moved(said: str, path: Path, shift: int) -> str:
    """Return a message with the line of the file instead of the line of the part."""
    at = re.match(rf"{re.escape(str(path))}:(\d+):", said)
    return f"{path}:{int(at[1]) + shift}:{said[at.end() :]}" if at else said
