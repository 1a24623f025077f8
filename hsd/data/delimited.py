"""Rows of CSV and TSV: which delimiter, which way of quoting, and no row that swallows another.

A file is read as CSV is quoted (RFC 4180), or with quotes escaped by backslashes; a file with tabs
also without quoting, as most TSV of posts is. Whatever would lose a row is refused.
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from hsd.counted import counted
from hsd.data.delimiters import SEPARATOR_LINE, delimiter_of
from hsd.data.json_rows import Numbered, empty
from hsd.errors import DataError

_LINE_END = re.compile(r"[\r\n]")
_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_WRITE_AGAIN = (
    "write it with a CSV writer (pandas and Excel double the quotes inside a cell), or as JSONL"
)


@dataclass(frozen=True, slots=True)
class _Record:
    """The cells of one row, and the first and last of its lines."""

    first: int
    last: int
    cells: list[str]


@dataclass(frozen=True)
class _Reading:
    """A text read one way: its records up to the first error."""

    lines: Sequence[str]
    delimiter: str
    records: list[_Record]
    error: tuple[int, str] | None = None
    """Where the text is not of this way, and why."""

    @property
    def width(self) -> int:
        """How many cells the header has."""
        return len(self.records[0].cells) if self.records else 0

    @cached_property
    def uneven(self) -> list[_Record]:
        """The records with fewer or more cells than the header."""
        return [record for record in self.records if len(record.cells) != self.width]

    @cached_property
    def swallowing(self) -> _Record | None:
        """The first record with a cell in which other rows seem to stand."""
        spans = [record for record in self.records if record.last > record.first]
        return next((record for record in spans if self._swallows(record)), None)

    @property
    def is_sound(self) -> bool:
        """Whether every row has the header's cells and swallows no other."""
        return not (self.error or self.uneven or self.swallowing)

    @cached_property
    def _values(self) -> list[set[str]]:
        """What stands in each column of rows of one line; a label there is a row's mark."""
        whole = [r.cells for r in self.records if r.first == r.last and len(r.cells) == self.width]
        columns = zip(*whole, strict=True) if whole else ((),) * self.width
        return [{value for value in column if value} for column in columns]

    def _swallows(self, record: _Record) -> bool:
        if self.delimiter == "\t":  # no post holds tabs and line ends
            return any("\t" in cell and _LINE_END.search(cell) for cell in record.cells)
        if self.width < 2:
            return False
        found = (n for n, cell in enumerate(record.cells) if _LINE_END.search(cell))
        at = min(next(found, 0), self.width - 1)
        lines = self.lines[record.first - 1 : record.last]
        rows = [self._row(line.rstrip("\r\n"), at) for line in lines]
        # Its own row's cells stand before the cell in the first line, and behind it in the last.
        before, behind = range(at), range(at + 1, self.width)
        columns = [behind, *([*before, *behind] for _ in rows[2:]), before]
        judged = [(row, part) for row, part in zip(rows, columns, strict=True) if part]
        alike = [self._is_like_others(record, row, part) for row, part in judged]
        sure = [
            self._is_like_others(record, row, [n for n in part if not _may_be_a_number(row, n, at)])
            for row, part in judged
        ]
        return any(sure) or (len(alike) > 1 and all(alike))

    def _row(self, line: str, at: int) -> list[str]:
        """Return the cells of a line as it stands, [] with too few; more commas are the post's."""
        cells = line.split(self.delimiter)
        behind = len(cells) - (self.width - at - 1)
        if behind <= at or cells[at][:1].isspace():  # a writer of words puts a space behind commas
            return []
        return [*cells[:at], self.delimiter.join(cells[at:behind]), *cells[behind:]]

    def _is_like_others(self, record: _Record, row: Sequence[str], columns: Iterable[int]) -> bool:
        """Return whether a line, parted as it stands, has a value that rows have in that column."""
        known = ((row[n], self._values[n], record.cells[n:][:1]) for n in columns if row)
        return any(value in values or [value] == own for value, values, own in known if value)


def _may_be_a_number(row: Sequence[str], column: int, at: int) -> bool:
    """Return whether the comma between a cell and the post may stand in a number: 1,000 or 0,5."""
    left = min(column, at)
    return (
        bool(row)
        and abs(column - at) == 1
        and row[left][-1:].isdigit()
        and row[left + 1][:1].isdigit()
    )


def table_rows(path: Path, text: str, delimiter: str) -> Iterator[Numbered]:
    """Yield the rows of a CSV or TSV text; `delimiter` is the one that the file's name tells.

    Raises DataError for an empty text, one without a header, or one in which rows would be lost.
    """
    lines = list(StringIO(text, newline=""))
    start = 1 if SEPARATOR_LINE.match(text) else 0
    if not "".join(lines[start:]).strip():
        raise empty(path)
    reading = _read(path, lines, start, delimiter_of(text, delimiter))
    header = _header(path, reading.records[0])
    for record in reading.records[1:]:
        if len(record.cells) == len(header):
            yield record.first, dict(zip(header, record.cells, strict=True))
        else:
            cells, columns = counted(len(record.cells), "cell"), counted(len(header), "column")
            yield record.first, f"{cells}, but the header has {columns}"


def _read(path: Path, lines: Sequence[str], start: int, delimiter: str) -> _Reading:
    """Return the first sound way to read lines, else the one whose faults can be told by line."""
    quoted = _csv(lines, lines, start, delimiter)
    if _is_escaped("".join(lines[start:]), delimiter):
        bare = _csv(lines, lines, start, delimiter, quoting=csv.QUOTE_NONE, escapechar="\\")
        if not bare.error and len(bare.uneven) <= len(quoted.uneven):
            return bare
    if delimiter == "\t" and any('"' in line for line in lines):
        raw = _raw(lines, start)
        if _is_raw(raw, quoted):
            return raw
    if not quoted.is_sound and any('\\"' in line for line in lines):
        standard = [_ESCAPED.sub(r'\1""', line) for line in lines]
        escaped = _csv(standard, lines, start, delimiter)
        if escaped.is_sound:
            return escaped
    if quoted.error is not None:
        line, why = quoted.error
        raise DataError(
            f"{path}:{line}: not CSV ({why}); is the last row cut off, or a quote open? Where "
            f"posts hold quotes, {_WRITE_AGAIN}."
        )
    if (record := quoted.swallowing) is not None:
        raise DataError(
            f"{path}:{record.first}: a quote opens a cell that ends in line {record.last} only, "
            f"with whole rows in it; {_WRITE_AGAIN}."
        )
    return quoted


def _is_escaped(text: str, delimiter: str) -> bool:
    """Return whether backslashes stand for quotes, as pandas writes with QUOTE_NONE.

    Then each is before a letter that needs it, and no such letter is without one.
    """
    needy = re.escape(f'"{delimiter}')
    rest = re.sub(rf"\\[\\\r\n{needy}]", "", text)
    stands = re.search(rf"(?<!\\)(?:\\\\)*\\[{needy}]", text)
    return bool(stands) and not {"\\", '"'} & set(rest)


def _is_raw(raw: _Reading, quoted: _Reading) -> bool:
    """Return whether quotes are letters like others in a file with tabs.

    They are where every line is a row as it stands, unless quoted cells look like a writer's.
    """
    if '"' in "".join(raw.records[0].cells):
        return False
    if any('"' in "".join(record.cells) for record in raw.uneven):
        return False
    return not quoted.is_sound or not _is_writers(raw)


def _is_writers(raw: _Reading) -> bool:
    """Return whether a CSV writer quoted: a whole column, or just the cells that need it.

    They need it for quotes, which are doubled then; to Excel, also for commas.
    """
    columns = list(
        zip(*(r.cells for r in raw.records[1:] if len(r.cells) == raw.width), strict=True)
    )
    cells = [cell for column in columns for cell in column]
    quoted = [cell[1:-1] for cell in cells if _is_quoted(cell)]
    if any('""' in cell for cell in quoted):
        return True
    with_commas = [cell for cell in cells if "," in cell]
    if with_commas and all("," in cell for cell in quoted) and all(map(_is_quoted, with_commas)):
        return True
    return any(
        any(column) and all(_is_quoted(cell) for cell in column if cell) for column in columns
    )


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _raw(lines: Sequence[str], start: int) -> _Reading:
    rows = (
        (number, line.rstrip("\r\n")) for number, line in enumerate(lines[start:], start=start + 1)
    )
    records = [_Record(number, number, line.split("\t")) for number, line in rows if line]
    return _Reading(lines, "\t", records)


def _csv(
    text: Sequence[str], lines: Sequence[str], start: int, delimiter: str, **dialect: Any
) -> _Reading:
    """Return text read as CSV is quoted; `lines` are the same as they stand in the file."""
    csv.field_size_limit(sys.maxsize)  # the default refuses a cell of 131,072 characters
    reader = csv.reader(text[start:], delimiter=delimiter, strict=True, **dialect)
    records: list[_Record] = []
    first = start + 1
    try:
        for cells in reader:
            last = start + reader.line_num
            if cells or not records:
                records.append(_Record(first, last, cells))
            first = last + 1
    except csv.Error as error:
        return _Reading(lines, delimiter, records, (first, str(error)))
    return _Reading(lines, delimiter, records)


def _header(path: Path, record: _Record) -> list[str]:
    names = [cell.strip() for cell in record.cells]
    if not any(names) or len(set(names)) < len(names) or any(name.isdecimal() for name in names):
        raise DataError(
            f"{path}:{record.first}: the first line is no header (column names are repeated, "
            "empty or numbers); add a line with the column names, such as 'text,label'."
        )
    return names
