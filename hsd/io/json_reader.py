"""The one reader of JSON files: whatever is wrong with one is said in a line, with its place."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hsd.errors import HsdError, PreflightError


def parse_json(
    text: str | bytes, place: str, problem: type[HsdError] = PreflightError, **options: Any
) -> Any:
    """Return the value of a JSON text; `options` are those of `json.loads`.

    Raises a `problem` that begins with `place`, whatever the text is: a damaged or hostile file is
    no bug of ours.
    """
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text, **options)
    except json.JSONDecodeError as error:
        raise problem(f"{place}:{error.lineno}: not JSON ({error.msg}).") from None
    except UnicodeDecodeError as error:
        raise problem(f"{place}: not JSON (byte {error.start} is not UTF-8).") from None
    except RecursionError:
        raise problem(f"{place}: not JSON that hsd reads (nested too deep).") from None
    except ValueError:  # Python reads no number of more than 4,300 digits: it takes too long
        raise problem(f"{place}: not JSON that hsd reads (a number has too many digits).") from None


def read_json(path: Path) -> Any:
    """Return the parsed file. Raises PreflightError when it is absent, unreadable or not JSON."""
    return parse_json(_bytes(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises PreflightError as `read_json`, and for no object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise PreflightError(f"{path}: expected a JSON object, found {json_kind(value)}.")
    return value


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one a line.

    A last line without its newline may be half written: its process may have died, or still go on.
    Raises PreflightError, naming the line, for any other that is no JSON object.
    """
    *lines, last = _bytes(path).split(b"\n")
    rows = [
        _object(line, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    with suppress(PreflightError):
        rows.append(_object(last, str(path)))
    return rows


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PreflightError(f"{path}: no such file; is {path.parent} a finished run?") from None
    except OSError as error:
        raise PreflightError(f"{path}: cannot be read ({error.strerror}).") from None


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = parse_json(line, place)
    except PreflightError:
        value = None
    if not isinstance(value, dict):
        raise PreflightError(f"{place}: not a JSON object; expected one a line.")
    return value


def json_kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")
