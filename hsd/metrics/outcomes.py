"""How many replies could be read, and how the others failed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hsd.metrics.bootstrap import CHUNK_CELLS, SEED
from hsd.metrics.clusters import unit_numbers
from hsd.metrics.ranking import Floats
from hsd.prediction import OUTCOMES, Outcome, Prediction

PERMUTATIONS = 1999
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

    A parse failure that goes with a group is a finding. A permutation test, seeded: the replies of
    whole units change places, posts keep their groups, so that small groups, templates and posts
    about several groups do no harm. None where no or every reply is unreadable, or the posts are
    about fewer than two groups.
    """
    unread = np.array([p.outcome not in READABLE for p in predictions], dtype=np.float64)
    names = sorted({name for p in predictions for name in p.about})
    if len(names) < 2 or unread.all() or not unread.any():
        return None
    unit = unit_numbers(predictions)
    sizes = np.bincount(unit)
    share = np.bincount(unit, unread) / sizes  # of a unit's replies
    members = np.array([[name in p.about for p in predictions] for name in names], np.float64)
    posts = [np.bincount(unit, rows) for rows in members]  # of each unit
    inside = np.array(posts, dtype=np.float64)
    expected = inside.sum(axis=1, keepdims=True) * unread.mean()
    rng = np.random.default_rng(SEED)
    found = _unevenness(inside, share[:, None], expected)[0] - 1e-9
    step = max(1, CHUNK_CELLS // len(share))
    as_uneven = 0
    for start in range(0, PERMUTATIONS, step):
        copies = np.repeat(share[:, None], min(step, PERMUTATIONS - start), axis=1)
        shuffled = rng.permuted(copies, axis=0)
        as_uneven += int((_unevenness(inside, shuffled, expected) >= found).sum())
    return (as_uneven + 1) / (PERMUTATIONS + 1)


def _unevenness(inside: Floats, share: Floats, expected: Floats) -> Floats:
    """Return Pearson's statistic of each column of shares (units, columns)."""
    found: Floats = ((inside @ share - expected) ** 2 / expected).sum(axis=0)
    return found
