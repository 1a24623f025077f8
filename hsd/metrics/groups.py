"""Error rates of the posts about each group, and how far apart they lie.

A post about several groups counts in each of them, so groups may add up to more than the whole.
A post about nobody counts under `none`, which is shown but is not a group: no difference is
taken against it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from hsd.data.example import GROUPS
from hsd.metrics.classification import Counts, count
from hsd.metrics.outcomes import Outcomes, outcomes
from hsd.metrics.prediction import Prediction

NONE = "none"
MINIMUM_N = 5
"""A rate over fewer posts than this takes no part in a difference between groups."""

Rate = Literal["false_positive_rate", "false_negative_rate"]
RATES: tuple[Rate, ...] = ("false_positive_rate", "false_negative_rate")


@dataclass(frozen=True, slots=True)
class Group:
    """The posts about one group: headline counts (unreadable = wrong) and reply outcomes."""

    name: str
    counts: Counts
    outcomes: Outcomes

    def rate(self, name: Rate) -> float | None:
        """Return one of the two error rates."""
        return getattr(self.counts, name)  # type: ignore[no-any-return]

    def denominator(self, name: Rate) -> int:
        """Return the number of posts behind a rate: normal ones for false positives."""
        return self.counts.normals if name == "false_positive_rate" else self.counts.hates


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of a rate between two groups."""

    rate: Rate
    highest: Group
    lowest: Group

    @property
    def value(self) -> float:
        """Highest minus lowest, in [0, 1]."""
        return (self.highest.rate(self.rate) or 0.0) - (self.lowest.rate(self.rate) or 0.0)


def by_group(predictions: Sequence[Prediction]) -> dict[str, Group]:
    """Return the groups that occur: hsd's own first, others by name, `none` last."""
    return _slices(predictions, lambda p: p.groups or (NONE,))


def by_persona(predictions: Sequence[Prediction]) -> dict[str, Group]:
    """Return the same for persona tags, which are finer than groups and one a post."""
    return _slices(predictions, lambda p: (p.persona_tag or NONE,))


def largest_difference(groups: dict[str, Group], rate: Rate) -> Difference | None:
    """Return the groups furthest apart; None unless two groups have MINIMUM_N posts each."""
    known = [g for g in groups.values() if g.name != NONE and g.denominator(rate) >= MINIMUM_N]
    if len(known) < 2:
        return None
    # min and max keep the first of equals, so a tie does not depend on the order of the rows.
    return Difference(rate, max(known, key=_value(rate)), min(known, key=_value(rate)))


def _value(rate: Rate) -> Callable[[Group], float]:
    return lambda group: group.rate(rate) or 0.0


def _slices(
    predictions: Sequence[Prediction], key: Callable[[Prediction], tuple[str, ...]]
) -> dict[str, Group]:
    members: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        # A group named twice in one row is still one membership.
        for name in dict.fromkeys(key(prediction)):
            members.setdefault(name, []).append(prediction)
    return {
        name: Group(name, count(members[name]), outcomes(members[name]))
        for name in sorted(members, key=_place)
    }


def _place(name: str) -> tuple[int, str]:
    if name == NONE:
        return len(GROUPS) + 1, name
    return (GROUPS.index(name) if name in GROUPS else len(GROUPS)), name
