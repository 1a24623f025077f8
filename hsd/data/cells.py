"""Reads single cells of a row: a post, a string, a flag, the name of a split."""

from collections.abc import Mapping
from typing import Any

from hsd.data.loaded import Bad

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


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


def _empty(value: Any) -> bool:
    """Return whether a cell holds nothing; pandas writes NaN there."""
    return value is None or value == "" or value != value


def flag(value: Any) -> bool:
    """Return whether a cell says yes; CSV files say it in words."""
    return str(value).strip().lower() in {"true", "1", "1.0", "yes"}


def split(value: str) -> str:
    """Return train, validation or test for the names in use; any other name as it is."""
    name = value.strip().lower()
    return SPLIT_NAMES.get(name) or SPLIT_NAMES.get(name.partition("_")[0], name)
