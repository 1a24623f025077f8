"""The rows to label: each one's post, or why there is none. No row is dropped."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hsd.data import cell_values
from hsd.data.arrow import plain
from hsd.data.loaded_file import Bad
from hsd.data.read_rows import BadRow, Row

SMALLEST_WINDOW, LARGEST_WINDOW, WINDOWS = 256, 4096, 16


@dataclass(frozen=True, slots=True)
class InputPost:
    """One row of the input, `number` from 0 on: its cells, and its post or why it has none."""

    number: int
    values: Mapping[str, Any]
    text: str | None
    reason: str = ""


def input_posts(rows: Iterable[Row | BadRow], column: str) -> Iterator[InputPost]:
    """Yield each row with the post in its column; one that is no row has no cells."""
    for number, row in enumerate(rows):
        if isinstance(row, BadRow):
            line = row.place.rpartition(":")[2]
            yield InputPost(number, {}, None, f"line {line}: {row.reason}")
            continue
        values = {name: plain(value) for name, value in row.values.items()}
        text = cell_values.post(values, column)
        if isinstance(text, Bad):
            yield InputPost(number, values, None, text.reason)
        else:
            yield InputPost(number, values, text)


def window_size(rows: int) -> int:
    """Return how many rows are answered at a time, sorted by length.

    By the rows of the file alone, so that a restart and any number of processes have the same
    windows: large ones, since all lengths meet in them, and some for each process.
    """
    return min(LARGEST_WINDOW, max(SMALLEST_WINDOW, -(-rows // WINDOWS)))


def rows_of_process(rows: int, size: int, first: int, every: int) -> int:
    """Return how many rows are in the windows `first`, `first + every`, ... of `size` rows each."""
    return sum(min(size, rows - at) for at in range(first * size, rows, every * size))


def windows(posts: Iterable[InputPost], size: int) -> Iterator[Sequence[InputPost]]:
    """Yield the rows `size` at a time, the last time what is left."""
    left = iter(posts)
    while window := list(islice(left, size)):
        yield window
