"""How many replies could be read, and how the others failed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsd.metrics.prediction import OUTCOMES, Outcome, Prediction

SEED = 42
PERMUTATIONS = 4999
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


def unreadable_p(predictions: Sequence[Prediction]) -> float | None:
    """Return how often unreadable replies would lie as unevenly among groups by chance.

    A parse failure that goes with a group is a finding. A permutation test, seeded: replies change
    places, posts keep their groups, so that small groups and posts about several do no harm. None
    where no or every reply is unreadable, or the posts are about fewer than two groups.
    """
    unread = np.array([p.outcome not in READABLE for p in predictions], dtype=np.float64)
    names = sorted({name for p in predictions for name in p.groups or ("none",)})
    if len(names) < 2 or unread.all() or not unread.any():
        return None
    inside = np.array([[name in (p.groups or ("none",)) for p in predictions] for name in names])
    inside = inside.astype(np.float64)
    expected = inside.sum(axis=1) * unread.mean()
    rng = np.random.default_rng(SEED)

    def unevenness(flags: NDArray[np.float64]) -> float:
        return float(((inside @ flags - expected) ** 2 / expected).sum())

    found = unevenness(unread) - 1e-9
    as_uneven = sum(unevenness(rng.permutation(unread)) >= found for _ in range(PERMUTATIONS))
    return (as_uneven + 1) / (PERMUTATIONS + 1)
