"""What a file to label holds, read once before any model is loaded: rows, columns, kinds of cells.

The table that is written needs its columns before its first row. A file that breaks off is found
here, not after hours of work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hsd.errors import DataError, did_you_mean
from hsd.predict.input_posts import InputPost

MOST_PARTS = 1000
"""Values of a column that shares are counted by; a column with more is an id, or the posts."""
_LARGEST = 2**63
_EXACT = 2**53
"""Up to here a float holds every whole number."""


@dataclass(slots=True)
class Survey:
    """Rows, how many of them hold a post, and the kinds of cells of each column, in their order.

    A kind is `str`, `int`, `large` (a whole number that no float holds), `float`, `bool` or
    `other`; an empty cell is of none.
    """

    rows: int = 0
    posts: int = 0
    columns: dict[str, set[str]] = field(default_factory=dict)


def survey(posts: Iterable[InputPost], by: str | None = None) -> Survey:
    """Return what is in the rows. Raises DataError where `by` has more than MOST_PARTS values."""
    found, parts = Survey(), set[str]()
    for post in posts:
        found.rows += 1
        found.posts += post.text is not None
        for name, value in post.values.items():
            kinds = found.columns.setdefault(name, set())
            if value is not None:
                kinds.add(_kind(value))
        if by is not None and len(parts) <= MOST_PARTS:
            parts.add(part_of(post.values, by))
    if len(parts) > MOST_PARTS:
        raise DataError(
            f"--by {by}: more than {MOST_PARTS:,} different values; name a column with few, such "
            "as the source of a post."
        )
    return found


def require_columns(found: Survey, file: str, text: str, by: str | None, new: list[str]) -> None:
    """Raise DataError where a column is missing, or one that is to be written is there already."""
    for name, option in ((text, "--text-column"), (by, "--by")):
        if name is not None and name not in found.columns:
            hint = did_you_mean(name, found.columns)
            raise DataError(f"{file}:1: no column '{name}'.{hint} Name it with {option}.")
    require_free(found.columns, file, new)


def require_free(columns: Iterable[str], file: str, new: list[str]) -> None:
    """Raise DataError where a column that is to be written is there already."""
    if taken := [name for name in new if name in columns]:
        raise DataError(
            f"{file}: has a column '{taken[0]}' already, which hsd predict writes; give the new "
            "columns another start, such as --prefix second_."
        )


def part_of(values: Mapping[str, Any], by: str) -> str:
    """Return what a row counts under; "" where its cell is empty or missing."""
    value = values.get(by)
    return "" if value is None else str(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) > _EXACT:
            return "large" if -_LARGEST <= value < _LARGEST else "other"
        return "int"
    return type(value).__name__ if isinstance(value, str | float) else "other"
