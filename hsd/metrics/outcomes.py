"""How many replies could be read, and how the others failed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hsd.metrics.prediction import OUTCOMES, Outcome, Prediction

READABLE: frozenset[Outcome] = frozenset({"valid", "repaired"})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The number of replies of each kind; every kind is a key, also those that never came."""

    counts: Mapping[Outcome, int]

    @property
    def n(self) -> int:
        """All replies."""
        return sum(self.counts.values())

    @property
    def unreadable(self) -> int:
        """Replies without a label."""
        return sum(k for outcome, k in self.counts.items() if outcome not in READABLE)

    @property
    def unreadable_rate(self) -> float | None:
        """Share of replies without a label; None without a reply."""
        return self.unreadable / self.n if self.n else None

    def rate(self, outcome: Outcome) -> float | None:
        """Return the share of replies of this kind; None without a reply."""
        return self.counts[outcome] / self.n if self.n else None


def outcomes(predictions: Iterable[Prediction]) -> Outcomes:
    """Return how often each kind of reply came."""
    seen = Counter(p.outcome for p in predictions)
    return Outcomes({outcome: seen[outcome] for outcome in OUTCOMES})


def unreadable_p(groups: Iterable[Outcomes]) -> float | None:
    """Return the p of a chi-squared test of unreadable replies against groups.

    A parse failure that goes with a group is a finding. None where no or every reply is unreadable,
    or fewer than two groups have replies.
    """
    from scipy.stats import chi2_contingency

    rows = [(found.unreadable, found.n - found.unreadable) for found in groups if found.n]
    if len(rows) < 2 or not all(map(sum, zip(*rows, strict=True))):
        return None
    return float(chi2_contingency(rows, correction=False).pvalue)
