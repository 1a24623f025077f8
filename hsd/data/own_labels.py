"""What a table's columns of labels say of a post: a name, a score, or several annotators' votes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hsd.data import cell_values
from hsd.data.label_names import (
    UnknownLabel,
    denies_hate,
    is_blank,
    is_flag,
    no_label,
    parse_label,
    unknown_label,
)
from hsd.data.loaded_file import Bad, LeftOut
from hsd.data.table_columns import Columns, Meaning
from hsd.data.vote_shares import NO_MAJORITY, majority_label, share_of_hate
from hsd.example import Label

_VOTES = {"hate": "hate"}
_NO_VOTES = 'objects or lists of lists; expected a label, or a list such as ["hate", "normal"]'


@dataclass(frozen=True, slots=True)
class RowLabel:
    """A post's label, the share of annotators who said hate, and the label in the table's words."""

    label: Label
    share: float | None = None
    name: str = ""


def row_label(values: Mapping[str, Any], columns: Columns) -> RowLabel | Bad | LeftOut:
    """Return what the columns of labels say of a row, or why they say nothing."""
    cells = _cells(values, columns.label_columns)
    if isinstance(cells, Bad):
        return cells
    if not cells.votes:
        return Bad(no_label("', '".join(columns.label_columns)))
    meanings = []
    for column, value in cells.votes:
        said = meaning(value, column, columns)
        if isinstance(said, Bad):
            return said
        meanings.append(said)
    if cells.is_one:
        return _one(meanings[0], cells.votes[0][1], columns)
    return _of_votes(meanings, columns.votes)


@dataclass(frozen=True, slots=True)
class _Cells:
    """The labels of a row, each with its column."""

    votes: Sequence[tuple[str, Any]]
    is_one: bool
    """A label alone, not one vote of several."""


def _cells(values: Mapping[str, Any], columns: Sequence[str]) -> _Cells | Bad:
    votes: list[tuple[str, Any]] = []
    is_one = len(columns) == 1
    for column in columns:
        value = cell_values.contained(values, column)
        if isinstance(value, Bad):
            return value
        is_one = is_one and not isinstance(value, list)
        several = value if isinstance(value, list) else [value]
        if any(isinstance(vote, dict | list) for vote in several):
            return Bad(f"'{column}' holds {_NO_VOTES}")
        votes += [(column, vote) for vote in several]
    return _Cells([(column, vote) for column, vote in votes if not is_blank(vote)], is_one)


def meaning(value: Any, column: str, columns: Columns) -> Meaning | Bad:
    """Return what one label means."""
    if columns.cut is not None:
        return _of_score(value, column, columns.cut)
    doubtful = not columns.labels and is_flag(value) and denies_hate(column)
    found = None if doubtful else parse_label(value, columns.labels)
    return found or Bad(unknown_label(value, column, columns.labels))


def _of_score(value: Any, column: str, cut: float) -> Label | Bad:
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if math.isnan(score):
        advice = "expected numbers such as 0.73, since --cut is given; for names give --labels"
        return Bad(UnknownLabel(repr(str(value)[:40]), f"'{column}'", advice))
    return "hate" if score >= cut else "normal"


def _one(said: Meaning, value: Any, columns: Columns) -> RowLabel | LeftOut:
    if said == "drop":
        return LeftOut(f"label {str(value)[:40]!r} is dropped as asked")
    return RowLabel(said, name="" if columns.cut is not None else str(value))


def _of_votes(votes: Sequence[Meaning], least: float | None) -> RowLabel | LeftOut:
    """Return the label of more than half of the votes, or hate from a share of them on."""
    share = share_of_hate(votes, _VOTES)
    said = majority_label(votes)
    if said == "drop":
        return LeftOut("most votes are for a label that is dropped as asked")
    if least is None:
        return LeftOut(NO_MAJORITY) if said is None else RowLabel(_label(said == "hate"), share)
    # By fractions: 0.3 of ten votes is three, whatever 3 / 10 is in floating point.
    counted = Fraction(sum(vote == "hate" for vote in votes), len(votes))
    return RowLabel(_label(counted >= Fraction(str(least))), share)


def _label(is_hate: bool) -> Label:
    return "hate" if is_hate else "normal"
