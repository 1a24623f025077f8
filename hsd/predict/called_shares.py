"""What people ask next: how many posts were called hate, in all and by a column."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hsd.metrics.intervals import Interval, wilson
from hsd.metrics.true_share import KnownRates, TrueShare, true_share
from hsd.predict.survey import part_of

MOST_REASONS = 20


@dataclass(slots=True)
class CalledCounts:
    """Rows, how many of them have a label, and how many of those are called hate."""

    rows: int = 0
    labelled: int = 0
    hate: int = 0

    def add(self, label: str | None) -> None:
        """Count one row."""
        self.rows += 1
        self.labelled += label is not None
        self.hate += label == "hate"

    @property
    def share(self) -> float | None:
        """The share of labelled posts that is called hate; None without one."""
        return self.hate / self.labelled if self.labelled else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's interval of that share."""
        return wilson(self.hate, self.labelled)

    def corrected(self, rates: KnownRates | None) -> TrueShare | None:
        """Return the share of hate that the error rates tell of; None where they tell nothing."""
        if rates is None or rates.problem:
            return None
        return true_share(self.hate, self.labelled, rates)


@dataclass(slots=True)
class CalledShares:
    """Counts of all rows, of each part by a column, and of each reason that a row has."""

    by: str | None = None
    whole: CalledCounts = field(default_factory=CalledCounts)
    parts: dict[str, CalledCounts] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any], label_column: str, reason_column: str) -> None:
        """Count a row as it was written."""
        label, reason = row.get(label_column) or None, row.get(reason_column)
        self.whole.add(label)
        if self.by is not None:
            self.parts.setdefault(part_of(row, self.by), CalledCounts()).add(label)
        if reason:
            said = _kind_of(reason)
            if said not in self.reasons and len(self.reasons) >= MOST_REASONS:
                said = "other reasons"
            self.reasons[said] = self.reasons.get(said, 0) + 1

    def add_all(self, rows: Iterable[Mapping[str, Any]], label: str, reason: str) -> None:
        """Count rows as they were written."""
        for row in rows:
            self.add(row, label, reason)

    def facts(self, rates: KnownRates | None) -> dict[str, Any]:
        """Return the counts for the manifest, with what the error rates make of them."""
        return {
            "by": self.by,
            "whole": _facts(self.whole, rates),
            "parts": {name: _facts(part, rates) for name, part in self.parts.items()},
            "reasons": dict(self.reasons),
            "rates": asdict(rates) if rates else None,
        }


def _facts(counts: CalledCounts, rates: KnownRates | None) -> dict[str, Any]:
    corrected = counts.corrected(rates)
    return {
        **asdict(counts),
        "share": counts.share,
        "interval": asdict(counts.interval) if counts.interval else None,
        "true_share": asdict(corrected) if corrected else None,
    }


def _kind_of(reason: str) -> str:
    """Return a reason without the line that it is of."""
    return reason.partition(": ")[2] if reason.startswith("line ") else reason
