"""From measurements to ratios: each contender against hsd in the same round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values with their ends."""

    middle: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if self.count == 1:
            return f"{self.middle:.2f}"
        return f"{self.middle:.2f} ({self.low:.2f}–{self.high:.2f})"


def spread(values: Iterable[float]) -> Spread | None:
    """Return the median of values with least and greatest; None without values."""
    values = list(values)
    if not values:
        return None
    return Spread(median(values), min(values), max(values), len(values))


def of(records: Iterable[Record], case: str, contender: str) -> dict[int, Record]:
    """Return the measurements of one contender on one case, by round."""
    return {r["round"]: r for r in records if r["case"] == case and r["contender"] == contender}


def row_seconds(record: Record) -> float:
    """Return CPU seconds a row."""
    return float(record["cpu_s"] / record["rows"])


def speedup(records: Sequence[Record], case: str, contender: str, base: str) -> Spread | None:
    """Return how many times the CPU seconds a row of `base` the contender takes, by round."""
    ours, theirs = of(records, case, base), of(records, case, contender)
    return spread(
        row_seconds(theirs[n]) / row_seconds(ours[n]) for n in ours.keys() & theirs.keys()
    )


def growth(
    records: Sequence[Record], small: str, large: str, contender: str, field: str
) -> Spread | None:
    """Return how many times more of `field` the larger case takes, by round."""
    few, many = of(records, small, contender), of(records, large, contender)
    return spread(many[n][field] / few[n][field] for n in few.keys() & many.keys())


def loss_difference(records: Sequence[Record], case: str) -> float | None:
    """Return the largest relative difference of a case's losses to the smallest of them."""
    losses = [r["loss"] for r in records if r["case"] == case and "loss" in r]
    return (max(losses) - min(losses)) / abs(min(losses)) if len(losses) > 1 else None


def agreement(
    records: Sequence[Record], case: str, field: str, one: str, other: str
) -> float | None:
    """Return the share of rows on which two contenders say the same; None without common rows."""
    ours, theirs = said(records, case, field, one), said(records, case, field, other)
    common = ours.keys() & theirs.keys()
    return sum(ours[row] == theirs[row] for row in common) / len(common) if common else None


def said(records: Sequence[Record], case: str, field: str, contender: str) -> dict[str, str]:
    """Return what a contender said of each row, over all rounds."""
    return {
        row: what
        for record in of(records, case, contender).values()
        for row, what in record.get(field, {}).items()
    }
