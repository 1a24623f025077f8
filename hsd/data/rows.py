"""Reads JSONL, JSON, CSV and Parquet into rows that know the file and line they came from.

What makes the whole file doubtful (not UTF-8, empty, cut off, no header) is a DataError. A single
line that is not a row is a BadRow, reported with the others.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
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
    if path.suffix == ".parquet":
        return _parquet_rows(path), []
    text = _read_text(path)
    if path.suffix in {".csv", ".tsv"}:
        return _csv_rows(path, text)
    start = text.lstrip()[0]
    if start == "[" and path.suffix != ".jsonl":
        rows, bad = _listed(path, text)
    elif start == "{" and path.suffix == ".json" and not _one_row_a_line(text):
        rows = [Row({"id": key, **value}, place) for key, value, place in _keyed(path, text)]
        bad = []
    else:
        rows, bad = _json_lines(path, text)
    if HALF.search(text):
        reason = "holds half a character (a lone surrogate), which is no text"
        bad += [BadRow(row.place, reason) for row in rows if _is_half(row)]
        rows = [row for row in rows if not _is_half(row)]
    return rows, bad


def _is_half(row: Row) -> bool:
    """JSON can spell half a character; no file in UTF-8 can hold it, and nothing can write it."""
    try:
        json.dumps(row.values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def require_file(path: Path) -> Path:
    """Return `path`; raise DataError with near names when it is not a file."""
    if path.is_file():
        return path
    near = [p.name for p in path.absolute().parent.glob("*") if p.is_file()]
    raise DataError(f"{path}: no such file.{did_you_mean(path.name, near)}")


def _read_text(path: Path) -> str:
    content = require_file(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8."
        ) from None
    if not text.strip():
        raise DataError(f"{path}:1: the file is empty; expected one row a line.")
    return text


def _json_lines(path: Path, text: str) -> tuple[list[Row], list[BadRow]]:
    rows, bad = [], []
    lines = text.split("\n")  # not splitlines: JSON strings may hold U+2028 and its like
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # without its line feed
                raise _cut_off(place) from None
            bad.append(BadRow(place, f"not JSON ({error.msg}, column {error.colno})"))
            continue
        if isinstance(value, dict):
            rows.append(Row(value, place))
        else:
            bad.append(BadRow(place, f"a row is a JSON object, this is a {_kind(value)}"))
    return rows, bad


def _listed(path: Path, text: str) -> tuple[list[Row], list[BadRow]]:
    rows, bad = [], []
    for _, value, line in _items(path, text, keyed=False):
        place = f"{path}:{line}"
        if isinstance(value, dict):
            rows.append(Row(value, place))
        else:
            bad.append(BadRow(place, f"a row is a JSON object, this is a {_kind(value)}"))
    return rows, bad


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


def _csv_rows(path: Path, text: str) -> tuple[list[Row], list[BadRow]]:
    csv.field_size_limit(sys.maxsize)  # the default refuses a cell of 131,072 characters
    reader = csv.reader(
        StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True
    )
    rows: list[Row] = []
    bad: list[BadRow] = []
    line = 1
    try:
        header = _header(path, next(reader))
        line = reader.line_num + 1
        for cells in reader:
            place = f"{path}:{line}"
            line = reader.line_num + 1
            if len(cells) == len(header):
                rows.append(Row(dict(zip(header, cells, strict=True)), place))
            elif cells:
                bad.append(BadRow(place, f"{len(cells)} cells, but {len(header)} columns"))
    except csv.Error as error:
        raise DataError(
            f"{path}:{line}: not CSV ({error}); is the last row cut off, or a quote open?"
        ) from None
    return rows, bad


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


def _cut_off(place: str) -> DataError:
    return DataError(
        f"{place}: the file ends in the middle of a row, or is not JSON there; copy or download "
        "it again."
    )


def _kind(value: Any) -> str:
    return {list: "list", str: "string", type(None): "null", dict: "object"}.get(
        type(value), "number"
    )
