"""Reads files into rows that know the file and line they came from, in one form for every format.

What makes the whole file doubtful (not UTF-8, empty, cut off, no header) is a DataError. A single
line that is not a row is a BadRow, reported with the others.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from hsd.data import data_files
from hsd.data.arrow import (
    Values,
    arrow_rows,
    parquet_rows,
    require_one_table,
    saved_splits,
    with_split,
)
from hsd.data.delimited import table_rows
from hsd.data.delimiters import delimiter_told
from hsd.data.json_rows import Numbered, empty, json_lines, json_rows
from hsd.data.parquet_folder import parquet_files
from hsd.data.table_parts import is_streamed, stream_table
from hsd.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file, and where: `file:line`."""

    values: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: where it is and why. Never its text."""

    place: str
    reason: str


def read_rows(path: Path) -> tuple[list[Row], list[BadRow]]:
    """Return the rows of a file or of a saved data set, and the lines that are none.

    JSONL, JSON (a list of rows, an object of rows by id, or one row a line), CSV, TSV, Parquet,
    Arrow, Feather; each may be packed with gzip.
    """
    return apart(stream_rows(path))


def apart(rows: Iterable[Row | BadRow]) -> tuple[list[Row], list[BadRow]]:
    """Return rows and bad rows, each in their order."""
    good: list[Row] = []
    bad: list[BadRow] = []
    for row in rows:
        if isinstance(row, Row):
            good.append(row)
        else:
            bad.append(row)
    return good, bad


def stream_rows(path: Path) -> Iterator[Row | BadRow]:
    """Yield what `read_rows` returns, in the file's order.

    JSONL is read a line at a time, Parquet some rows at a time, a large CSV or TSV in parts.

    Raises DataError at the end of what holds no row.
    """
    is_empty = True
    for row in _rows(path):
        is_empty = False
        yield row
    if is_empty:
        raise DataError(
            f"{path}: there is no row in it, only a header or an empty table; was it cut off "
            "where it was written?"
        )


def stream_pipe(file: Iterable[bytes], name: str) -> Iterator[Row | BadRow]:
    """Yield the rows of a pipe: JSONL as its lines come, CSV or TSV a few megabytes at a time.

    `name` is what messages call it. Raises DataError at the end of what holds no row.
    """
    path = Path(name)
    lines = data_files.decoded(path, file)
    head = list(_to_first_word(lines))
    if not head or not head[-1].strip():
        raise empty(path)
    again = chain(head, lines)
    if head[-1].lstrip()[0] in "{[":
        numbered = json_lines(path, again)
    else:
        numbered = stream_table(path, again, ",")
    for number, values in numbered:
        yield _row(values, f"{name}:{number}")


def _to_first_word(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.strip():
            return


def _rows(path: Path) -> Iterator[Row | BadRow]:
    if data_files.is_saved(path):
        return rows_of(saved_splits(path), str(path))
    if not path.is_file() and (splits := parquet_files(path)):
        return _folder_rows(splits)
    numbered = _numbered(data_files.require_data(path))
    return (_row(values, f"{path}:{number}") for number, values in numbered)


def _folder_rows(splits: Mapping[str, list[Path]]) -> Iterator[Row | BadRow]:
    require_one_table([file for files in splits.values() for file in files])
    for split, files in splits.items():
        for file in files:
            for number, values in parquet_rows(file):
                (told,) = with_split([values], split)
                yield _row(told, f"{file}:{number}")


def rows_of(splits: Mapping[str, Iterable[Values]], name: str) -> Iterator[Row | BadRow]:
    """Yield rows that know their split and the place `NAME/SPLIT:ROW`.

    A row's own split column wins.
    """
    for split, rows in splits.items():
        place = f"{name}/{split}" if split else name
        for number, values in enumerate(with_split(rows, split), start=1):
            yield _row(values, f"{place}:{number}")


def _row(values: Values, place: str) -> Row | BadRow:
    return BadRow(place, values) if isinstance(values, str) else Row(values, place)


def _numbered(path: Path) -> Iterator[Numbered]:
    kind = data_files.format_of(path)
    if kind == "parquet":
        return parquet_rows(path)
    if kind == "arrow":
        return arrow_rows(path)
    if kind == "lines":
        return json_lines(path, data_files.lines(path))
    if kind in ("csv", "tsv") and is_streamed(path):
        return stream_table(path, data_files.lines(path), "\t" if kind == "tsv" else ",")
    if kind == "json":
        text = "".join(data_files.lines(path))
    else:
        text, _ = data_files.table_text(path)
    if not text.strip():
        raise empty(path)
    if kind == "json":
        return json_rows(path, text)
    return table_rows(path, text, delimiter_told(kind))
