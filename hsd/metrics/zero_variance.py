"""Intervals where every draw of a bootstrap is the same, as when no post of a group is wrong.

That is no certainty: five posts without an error are little, five hundred are much. Score intervals
tell them apart.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import permutations

from hsd.metrics.clusters import design_effect
from hsd.metrics.intervals import Interval, wilson
from hsd.metrics.ranking import Bools


@dataclass(frozen=True, slots=True)
class Hits:
    """Wrong posts of a number of posts; both smaller where posts share units."""

    hits: float
    n: float

    @classmethod
    def of(cls, posts: Bools, wrong: Bools, units: Sequence[str]) -> "Hits":
        """Return those of the posts under a mask (rows,)."""
        inside = [unit for unit, is_in in zip(units, posts, strict=True) if is_in]
        effect = design_effect([bool(one) for one in wrong[posts]], inside)
        return cls(float((posts & wrong).sum()) / effect, float(posts.sum()) / effect)


def largest_difference(groups: Collection[Hits]) -> Interval | None:
    """Return the interval of the largest difference of a rate between groups, from 0 on.

    Newcombe (1998), method 10, over all pairs; None with fewer than two groups.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = [
        confint_proportions_2indep(a.hits, a.n, b.hits, b.n, method="newcomb", compare="diff")
        for a, b in permutations(groups, 2)
    ]
    if not found:
        return None
    return Interval(max(0.0, *(float(low) for low, _ in found)), max(float(h) for _, h in found))


def f1(hates: Hits, normals: Hits) -> Interval | None:
    """Return F1's interval from those of both error rates; None without a post of either label."""
    missed, alarms = wilson(hates.hits, hates.n), wilson(normals.hits, normals.n)
    if missed is None or alarms is None:
        return None

    def at(missed_rate: float, alarm_rate: float) -> float:
        right = 2 * hates.n * (1 - missed_rate)
        return right / (right + hates.n * missed_rate + normals.n * alarm_rate)

    return Interval(at(missed.high, alarms.high), at(missed.low, alarms.low))
