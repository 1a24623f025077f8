"""What changed between two runs on the same posts: a metric, an error rate, a gap.

Differences are `other - reference`.
"""

from dataclasses import dataclass

from hsd.metrics.drawn_rates import GapName
from hsd.metrics.groups import MINIMUM_N, Rate
from hsd.metrics.intervals import LEVEL, Interval, paired_rate


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One headline metric of both runs, with the interval of the difference.

    For accuracy and recall, which are rates of the same posts in both runs, it is that of
    `paired_rate`; for the others a paired bootstrap's.
    """

    name: str
    reference: float | None
    other: float | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """Other minus reference; None where either is not defined."""
        if self.reference is None or self.other is None:
            return None
        return self.other - self.reference


@dataclass(frozen=True, slots=True)
class RateChange:
    """One error rate of one group in both runs, over the same `n` posts.

    `broken` posts were right and are wrong, `fixed` ones the other way round. Rates, interval and
    p-values are None, never 0, with fewer than MINIMUM_N posts. `p_value` is the exact McNemar
    test's, with posts that share a unit turned together; `holm_p` is that when all groups and both
    rates were looked at, None for all posts. `effect` is how many posts tell as much as one.
    """

    group: str
    rate: Rate
    n: int
    wrong_before: int
    broken: int
    fixed: int
    p_value: float | None = None
    holm_p: float | None = None
    effect: float = 1.0

    @property
    def is_estimable(self) -> bool:
        """Whether there are posts enough for a rate."""
        return self.n >= MINIMUM_N

    @property
    def reference(self) -> float | None:
        """The rate in the reference run."""
        return self.wrong_before / self.n if self.is_estimable else None

    @property
    def other(self) -> float | None:
        """The rate in the other run."""
        wrong = self.wrong_before + self.broken - self.fixed
        return wrong / self.n if self.is_estimable else None

    @property
    def difference(self) -> float | None:
        """Other minus reference. Above 0 is worse."""
        return (self.broken - self.fixed) / self.n if self.is_estimable else None

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the difference."""
        if not self.is_estimable:
            return None
        return paired_rate(*(k / self.effect for k in (self.broken, self.fixed, self.n)))

    @property
    def worse(self) -> bool:
        """Whether the rate rose, also when all the rates that were looked at are thought of."""
        p = self.p_value if self.holm_p is None else self.holm_p
        return p is not None and p < 1 - LEVEL and self.broken > self.fixed

    @property
    def may_be_worse(self) -> bool:
        """Whether the rate rose by more than chance leaves to one rate looked at by itself."""
        return not self.worse and self.interval is not None and self.interval.low > 0


@dataclass(frozen=True, slots=True)
class GapChange:
    """A largest difference between groups in both runs, with a paired bootstrap's interval."""

    name: GapName
    reference: float | None
    other: float | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """Other minus reference; None where not estimable. Above 0 groups lie further apart."""
        if self.reference is None or self.other is None:
            return None
        return self.other - self.reference

    @property
    def grew(self) -> bool:
        """Whether groups lie further apart by more than the interval leaves to chance."""
        return self.interval is not None and self.interval.low > 0
