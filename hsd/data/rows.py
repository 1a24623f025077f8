"""Reads JSONL, JSON, CSV and Parquet into rows that know the file and line they came from.

What makes the whole file doubtful (not UTF-8, empty, cut off, no header) is a DataError. A single
line that is not a row is a BadRow, reported with the others.
"""

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from hsd.errors import DataError, did_you_mean

HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON spells half a character; two of them may well be a whole one."""


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
    """Return the rows of a .jsonl, .json, .csv, .tsv or .parquet file, and the lines that are none.

    A JSON file is a list of rows, an object of rows by id, or one row a line.
    """
    rows: list[Row] = []
    bad: list[BadRow] = []
    for row in stream_rows(path):
        if isinstance(row, Row):
            rows.append(row)
        else:
            bad.append(row)
    return rows, bad


def stream_rows(path: Path) -> Iterator[Row | BadRow]:
    """Yield what `read_rows` returns, in the file's order; a .jsonl file one line at a time."""
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
    elif path.suffix == ".jsonl":
        yield from _json_lines(path, _lines(path))
    elif path.suffix in {".csv", ".tsv"}:
        yield from _csv_rows(path, _read_text(path))
    else:
        yield from _json_rows(path, _read_text(path))


def _json_rows(path: Path, text: str) -> Iterator[Row | BadRow]:
    start = text.lstrip()[0]
    if start == "[":
        yield from map(_whole, _listed(path, text))
    elif start == "{" and path.suffix == ".json" and not _one_row_a_line(text):
        rows = (Row({"id": key, **value}, place) for key, value, place in _keyed(path, text))
        yield from map(_whole, rows)
    else:
        yield from _json_lines(path, StringIO(text, newline="\n"))


def _whole(row: Row | BadRow) -> Row | BadRow:
    """JSON can spell half a character; no file in UTF-8 can hold it, and nothing can write it."""
    if isinstance(row, BadRow):
        return row
    try:
        json.dumps(row.values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRow(row.place, "holds half a character (a lone surrogate), which is no text")
    return row


def require_file(path: Path) -> Path:
    """Return `path`; raise DataError with near names when it is not a file."""
    if path.is_file():
        return path
    near = [p.name for p in path.absolute().parent.glob("*") if p.is_file()]
    raise DataError(f"{path}: no such file.{did_you_mean(path.name, near)}")


def _read_text(path: Path) -> str:
    text = "".join(_lines(path))
    if not text.strip():
        raise _empty(path)
    return text


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines with their line feeds, and no other line ends: U+2028 may stand in JSON."""
    with require_file(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise DataError(
                    f"{path}:{number}: not UTF-8 (byte 0x{byte:02x}); save it as UTF-8."
                ) from None
            yield text


def _json_lines(path: Path, lines: Iterable[str]) -> Iterator[Row | BadRow]:
    empty = True
    for number, line in enumerate(lines, start=1):
        if line.strip():
            empty = False
            row = _json_line(line, f"{path}:{number}")
            yield _whole(row) if HALF.search(line) else row
    if empty:
        raise _empty(path)


def _json_line(line: str, place: str) -> Row | BadRow:
    try:
        value = json.loads(line.rstrip("\n"))  # or an error at its end would be in column 1
    except json.JSONDecodeError as error:
        if not line.endswith("\n"):
            raise _cut_off(place) from None
        return BadRow(place, f"not JSON ({error.msg}, column {error.colno})")
    return _row(value, place)


def _row(value: Any, place: str) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(value, place)
    return BadRow(place, f"a row is a JSON object, this is a {_kind(value)}")


def _listed(path: Path, text: str) -> Iterator[Row | BadRow]:
    for _, value, line in _items(path, text, keyed=False):
        yield _row(value, f"{path}:{line}")


def _keyed(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    for key, value, line in _items(path, text, keyed=True):
        if not isinstance(value, dict):
            raise DataError(
                f"{path}:{line}: expected a list of rows, one row a line, or an object of rows "
                f"by id; '{key}' holds a {_kind(value)}."
            )
        yield key, value, f"{path}:{line}"


def _one_row_a_line(text: str) -> bool:
    """Tell JSON lines in a .json file from one object of rows by id."""
    first, _, rest = text.strip().partition("\n")
    try:
        value = json.loads(first)
    except json.JSONDecodeError:
        return False
    return bool(rest) or not all(isinstance(inner, dict) for inner in value.values())


def _items(path: Path, text: str, *, keyed: bool) -> Iterator[tuple[str, Any, int]]:
    """Yield key ("" in a list), value and line of each item of one JSON list or object."""
    decode = json.JSONDecoder().raw_decode
    position = text.index("{" if keyed else "[") + 1
    line, counted, key = 1, 0, ""
    try:
        while (position := _skip_space(text, position)) < len(text) and text[position] not in "]}":
            line += text.count("\n", counted, position)
            counted = position
            if keyed:
                key, position = decode(text, position)
                position = _skip(text, position, ":")
            value, position = decode(text, position)
            yield key, value, line
            position = _skip(text, position, ",")
    except json.JSONDecodeError as error:
        raise _cut_off(f"{path}:{error.lineno}") from None
    if position >= len(text):
        raise _cut_off(f"{path}:{text.count(chr(10)) + 1}")


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _skip(text: str, position: int, mark: str) -> int:
    """Step over a mark; a list or object may also end here."""
    position = _skip_space(text, position)
    if text[position : position + 1] == mark:
        return _skip_space(text, position + 1)
    if mark == "," and text[position : position + 1] in {"]", "}", ""}:
        return position
    raise json.JSONDecodeError(f"Expecting '{mark}'", text, position)


def _csv_rows(path: Path, text: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(sys.maxsize)  # the default refuses a cell of 131,072 characters
    reader = csv.reader(
        StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True
    )
    line = 1
    try:
        header = _header(path, next(reader))
        line = reader.line_num + 1
        for cells in reader:
            place = f"{path}:{line}"
            line = reader.line_num + 1
            if len(cells) == len(header):
                yield Row(dict(zip(header, cells, strict=True)), place)
            elif cells:
                yield BadRow(place, f"{len(cells)} cells, but {len(header)} columns")
    except csv.Error as error:
        raise DataError(
            f"{path}:{line}: not CSV ({error}); is the last row cut off, or a quote open?"
        ) from None


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if not any(names) or len(set(names)) < len(names) or any(name.isdecimal() for name in names):
        raise DataError(
            f"{path}:1: the first line is no header (column names are repeated, empty or "
            "numbers); add a line with the column names, such as 'text,label'."
        )
    return names


def _parquet_rows(path: Path) -> list[Row]:
    """Return the rows of a Parquet file; it has no lines, so rows are counted from 1."""
    import pandas

    try:
        table = pandas.read_parquet(require_file(path))
    except ValueError as error:
        raise DataError(f"{path}: not Parquet ({error}); copy or download it again.") from None
    rows = enumerate(table.to_dict("records"), start=1)
    return [
        Row({str(name): value for name, value in values.items()}, f"{path}:{number}")
        for number, values in rows
    ]


def _empty(path: Path) -> DataError:
    return DataError(f"{path}:1: the file is empty; expected one row a line.")


def _cut_off(place: str) -> DataError:
    return DataError(
        f"{place}: the file ends in the middle of a row, or is not JSON there; copy or download "
        "it again."
    )


def _kind(value: Any) -> str:
    return {list: "list", str: "string", type(None): "null", dict: "object"}.get(
        type(value), "number"
    )
