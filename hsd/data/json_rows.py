"""Rows of JSON text: one a line, a list of rows, an object of rows by id, or objects in a row.

Each comes with the line it starts at; what is no row is a string, the reason.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

from hsd.errors import DataError

Numbered = tuple[int, dict[str, Any] | str]

HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON spells half a character; two of them may well be a whole one."""
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_FORMS = "expected a list of rows, one row a line, or an object of rows by id"


def json_lines(path: Path, lines: Iterator[str]) -> Iterator[Numbered]:
    """Yield one row a line, as lines are read; a file that begins indented is read as a whole."""
    start = []
    for line in lines:
        start.append(line)
        if line.strip():
            break
    first = start[-1].strip() if start else ""
    again = chain(start, lines)
    if first == "{" or first.startswith("["):
        return json_rows(path, "".join(again))
    return _each_line(path, again)


def json_rows(path: Path, text: str) -> Iterator[Numbered]:
    """Yield the rows of a whole text in any of the forms."""
    start = text.lstrip()[:1]
    if start == "[":
        return map(_whole, _listed(path, text))
    if start == "{" and not _one_row_a_line(text):
        return map(_whole, _in_a_row(path, text) if _are_several(text) else _keyed(path, text))
    return _each_line(path, StringIO(text, newline="\n"))


def _whole(row: Numbered) -> Numbered:
    """JSON can spell half a character; no file in UTF-8 can hold it, and nothing can write it."""
    number, values = row
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return number, "holds half a character (a lone surrogate), which is no text"
    except RecursionError:
        return number, _TOO_DEEP
    return row


def _each_line(path: Path, lines: Iterable[str]) -> Iterator[Numbered]:
    is_empty = True
    for number, line in enumerate(lines, start=1):
        if line.strip():
            is_empty = False
            row = number, _line(line, f"{path}:{number}")
            yield _whole(row) if HALF.search(line) else row
    if is_empty:
        raise empty(path)


def _line(line: str, place: str) -> dict[str, Any] | str:
    try:
        value = _DECODER.decode(line.rstrip("\n"))  # or an error at its end would be in column 1
    except json.JSONDecodeError as error:
        if not line.endswith("\n"):
            raise _cut_off(place) from None
        if _is_cut(error):
            return "the line is cut off: its row of JSON does not end"
        return f"not JSON ({error.msg}, column {error.colno})"
    except (RecursionError, ValueError) as error:
        return _unread(error)
    return _row(value)


def _is_cut(error: json.JSONDecodeError) -> bool:
    """Return whether more would have to follow, as in a line that another write cut in half."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(error.doc.rstrip())


class WrittenTwiceError(ValueError):
    """A key is written twice in one object: which of its values is meant, nobody knows."""


class _Unread(str):
    """Why a row that is JSON cannot be read."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise WrittenTwiceError(next(key for key in keys if keys.count(key) > 1))
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def value_of(text: str) -> Any:
    """Return the value of a JSON text.

    Raises WrittenTwiceError where an object writes a key twice, and ValueError or RecursionError
    where the text is not JSON.
    """
    return _DECODER.decode(text)


_TOO_DEEP = "is nested too deep to be read"


def _unread(error: Exception) -> _Unread:
    if isinstance(error, WrittenTwiceError):
        return _Unread(f"key '{error}' is written twice")
    if isinstance(error, RecursionError):
        return _Unread(_TOO_DEEP)
    return _Unread(f"holds a number of more than {sys.get_int_max_str_digits():,} digits")


def _decoded(text: str, position: int) -> tuple[Any, int]:
    """Return a value, or why it cannot be read, and where it ends."""
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        return _unread(error), _end(text, position)


def _end(text: str, position: int) -> int:
    """Return where the list or object ends that begins at a position."""
    depth = 0
    for found in _BRACKET.finditer(text, position):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    return len(text)


def _row(value: Any) -> dict[str, Any] | str:
    if isinstance(value, dict | _Unread):
        return value
    return f"a row is a JSON object, this is a {_kind(value)}"


def _listed(path: Path, text: str) -> Iterator[Numbered]:
    for _, value, line in _items(path, text, keyed=False):
        yield line, _row(value)


def _keyed(path: Path, text: str) -> Iterator[Numbered]:
    for key, value, line in _items(path, text, keyed=True):
        if isinstance(value, _Unread):
            yield line, value
            continue
        if not isinstance(value, dict):
            raise DataError(f"{path}:{line}: {_FORMS}; '{key}' holds a {_kind(value)}.")
        yield line, {"id": key, **value}


def _in_a_row(path: Path, text: str) -> Iterator[Numbered]:
    position, line, counted = _skip_space(text, 0), 1, 0
    while position < len(text):
        line += text.count("\n", counted, position)
        counted = position
        try:
            value, position = _decoded(text, position)
        except json.JSONDecodeError as error:
            raise _cut_off(f"{path}:{error.lineno}") from None
        yield line, _row(value)
        position = _skip_space(text, position)


def _one_row_a_line(text: str) -> bool:
    """Tell JSON lines from one object of rows by id."""
    first, _, rest = text.strip().partition("\n")
    try:
        value = json.loads(first)
    except json.JSONDecodeError:
        return False
    except (RecursionError, ValueError):
        return bool(rest)
    return bool(rest) or not all(isinstance(inner, dict) for inner in value.values())


def _are_several(text: str) -> bool:
    """Tell objects in a row, each over several lines, from one object."""
    try:
        _, end = _decoded(text, _skip_space(text, 0))
    except json.JSONDecodeError:
        return False
    return text[end:].lstrip().startswith("{")


def _items(path: Path, text: str, *, keyed: bool) -> Iterator[tuple[str, Any, int]]:
    """Yield key ("" in a list), value and line of each item of one JSON list or object."""
    position = text.index("{" if keyed else "[") + 1
    line, counted, key = 1, 0, ""
    try:
        while (position := _skip_space(text, position)) < len(text) and text[position] not in "]}":
            line += text.count("\n", counted, position)
            counted = position
            if keyed:
                key, position = _decoded(text, position)
                position = _skip(text, position, ":")
            value, position = _decoded(text, position)
            yield key, value, line
            position = _skip(text, position, ",")
    except json.JSONDecodeError as error:
        raise _cut_off(f"{path}:{error.lineno}") from None
    if text[position : position + 1] != ("}" if keyed else "]"):
        raise _cut_off(f"{path}:{_line_of(text, position)}")
    after = _skip_space(text, position + 1)
    if after < len(text):
        raise DataError(
            f"{path}:{_line_of(text, after)}: more follows where the rows end; {_FORMS}."
        )


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


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


def empty(path: Path) -> DataError:
    """Return the error for a file without a row."""
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
