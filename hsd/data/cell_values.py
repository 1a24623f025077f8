"""Reads single cells of a row: a post, a string, names, a flag, the name of a split."""

import math
from collections.abc import Mapping
from typing import Any

from hsd.data.loaded_file import Bad
from hsd.data.printed_values import begins_words, is_bracketed, parse


def post(values: Mapping[str, Any], column: str) -> str | Bad:
    """Return the text of a post as it stands, or why there is none."""
    value = values.get(column)
    if column not in values:
        return Bad(f"no column '{column}'")
    if value is None or (isinstance(value, str) and not value.strip()):
        return Bad(f"no text in '{column}'")
    if not isinstance(value, str):
        return Bad(f"'{column}' holds no text but a {type(value).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        return Bad(f"'{column}' holds half a character (a lone surrogate), which is no text")
    return value


def string(values: Mapping[str, Any], *columns: str) -> str:
    """Return the first of the columns that holds something, as a string; "" without."""
    found = (values[column] for column in columns if not _empty(values.get(column)))
    return str(next(found, ""))


def contained(values: Mapping[str, Any], column: str) -> Any:
    """Return a cell, a list or dict that was printed into text as what it was; None without.

    Bad for a cell with brackets that is no list: its parts would be taken for something else.
    """
    value = values.get(column)
    if not isinstance(value, str) or not is_bracketed(value):
        return value
    try:
        return parse(value)
    except ValueError:
        return Bad(f"'{column}' cannot be read as a list")


def names(values: Mapping[str, Any], *columns: str) -> Any:
    """Return the first of the columns that holds something: a name, a list of names; or Bad.

    None where all are blank. An empty list is no blank: it says that the post is about nobody. It
    is the same whether the list was one in the file or was printed into a cell of text.
    """
    column = next((name for name in columns if not _blank(values.get(name))), None)
    if column is None:
        return None
    value = contained(values, column)
    if isinstance(value, dict | list | tuple) and not value:
        return []
    if not isinstance(value, dict | list | tuple):
        return value
    found = [name for name in value if not _empty(name)]
    if isinstance(value, dict) or any(not _is_name(name) for name in found):
        return Bad(f"'{column}' holds more than names; expected a name or a list of names")
    return found


def named(cell: Any) -> tuple[str, ...]:
    """Return what `names` gave as a tuple of texts; () for an empty cell."""
    cells = cell if isinstance(cell, list | tuple) else [cell]
    return tuple(str(one) for one in cells if not _empty(one))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and not is_bracketed(value)


def words(values: Mapping[str, Any], *columns: str) -> str | Bad:
    """Return the first of the columns that holds something, as text; a list of words is joined.

    Text with brackets that is no list stays text, unless it begins as a list of words does: one
    that was cut short (`['a' 'b' ... 'z']`) is Bad.
    """
    column = next((name for name in columns if not _empty(values.get(name))), "")
    value = contained(values, column)
    if isinstance(value, Bad) and begins_words(str(values[column])):
        return value
    if not isinstance(value, list) and not isinstance(values.get(column), dict):
        return string(values, column)
    if isinstance(value, dict) or not all(isinstance(word, str) for word in value):
        return Bad(f"'{column}' holds no text and no list of words")
    return " ".join(value)


def _empty(value: Any) -> bool:
    """Return whether a cell holds nothing; pandas writes NaN there."""
    return value is None or value == "" or value != value


def _blank(value: Any) -> bool:
    """Return whether a cell holds nothing, or white space alone."""
    return _empty(value) or (isinstance(value, str) and not value.strip())


def share(values: Mapping[str, Any], column: str) -> float | None | Bad:
    """Return a cell as a share in [0, 1]; None where it is blank."""
    value: Any = values.get(column)
    if _blank(value):
        return None
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not 0 <= found <= 1:  # refuses nan too
        said = str(value)[:40]
        return Bad(f"{column!r} is {said!r}; expected a number from 0 to 1, such as 0.67")
    return found


def flag(value: Any) -> bool:
    """Return whether a cell says yes; CSV files say it in words."""
    return str(value).strip().lower() in {"true", "1", "1.0", "yes"}
