"""Error rates of the posts about each group, and how far apart they lie.

A post about several groups counts in each of them, so groups may add up to more than the whole.
A post about nobody counts under `none`, which is shown but is not a group: no difference is
taken against it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hsd.example import GROUPS, NONE
from hsd.metrics.classification import ConfusionMatrix, calls, count
from hsd.metrics.clusters import design_effect, is_clustered, units
from hsd.metrics.intervals import Interval, wilson
from hsd.metrics.outcomes import Outcomes, outcomes
from hsd.prediction import Prediction

ALL = "all posts"
_FIRST, _LAST = GROUPS[:-1], (GROUPS[-1], NONE)
MINIMUM_N = 5
"""A rate over fewer posts than this is not estimable: its interval would be 80 points wide."""

Rate = Literal["false_positive_rate", "false_negative_rate"]
RATES: tuple[Rate, ...] = ("false_positive_rate", "false_negative_rate")
Share = Literal["false_positive_rate", "false_negative_rate", "precision", "selection_rate"]
SHARES: tuple[Share, ...] = (*RATES, "precision", "selection_rate")


@dataclass(frozen=True, slots=True)
class Proportion:
    """`hits` of `n` posts. Not estimable (None, never 0) with fewer than MINIMUM_N.

    `effect` is how many of them tell as much as one post by itself: above 1 where they share units.
    """

    hits: int
    n: int
    effect: float = 1.0

    @classmethod
    def of(cls, hits: Sequence[bool], names: Sequence[str]) -> "Proportion":
        """Return the share of hits among posts with these units."""
        return cls(sum(hits), len(hits), design_effect(hits, names))

    @property
    def value(self) -> float | None:
        """hits / n."""
        return self.hits / self.n if self.n >= MINIMUM_N else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's interval, of as many posts as these are worth."""
        return self.ends if self.n >= MINIMUM_N else None

    @property
    def ends(self) -> Interval | None:
        """The same, also of few posts; None without one."""
        return wilson(self.hits / self.effect, self.n / self.effect)


@dataclass(frozen=True, slots=True)
class Group:
    """The posts about one group: headline counts (unreadable = wrong) and reply outcomes.

    `selected` posts were called hate by a reply that could be read. `effects` are those of shares
    whose posts share units.
    """

    name: str
    counts: ConfusionMatrix
    outcomes: Outcomes
    selected: int
    effects: Mapping[Share, float] = field(default_factory=dict)

    def share(self, name: Share) -> Proportion:
        """Return an error rate, the precision, or the share of posts called hate."""
        counts = self.counts
        hits, n = {
            "false_positive_rate": (counts.fp, counts.normals),
            "false_negative_rate": (counts.fn, counts.hates),
            "precision": (counts.tp, counts.tp + counts.fp),
            "selection_rate": (self.selected, counts.n),
        }[name]
        return Proportion(hits, n, self.effects.get(name, 1.0))

    def rate(self, name: Rate) -> float | None:
        """Return one of the two error rates; None where it is not estimable."""
        return self.share(name).value

    def denominator(self, name: Rate) -> int:
        """Return the number of posts behind a rate: normal ones for false positives."""
        return self.share(name).n


def by_group(predictions: Sequence[Prediction]) -> dict[str, Group]:
    """Return the groups that occur: the default ones, others by name, `other`, `none`."""
    return grouped(predictions, lambda p: p.about)


def by_persona(predictions: Sequence[Prediction]) -> dict[str, Group]:
    """Return the same for persona tags, which are finer than groups and one a post."""
    return grouped(predictions, lambda p: (p.persona_tag or NONE,))


def grouped(
    predictions: Sequence[Prediction], key: Callable[[Prediction], tuple[str, ...]]
) -> dict[str, Group]:
    """Return the counts of the rows under each name that `key` gives a row."""
    members: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        # A group named twice in one row is still one membership.
        for name in dict.fromkeys(key(prediction)):
            members.setdefault(name, []).append(prediction)
    return {name: _group(name, members[name]) for name in sorted(members, key=place_of)}


def _group(name: str, rows: list[Prediction]) -> Group:
    selected = sum(row.label == "hate" for row in rows)
    return Group(name, count(rows), outcomes(rows), selected, _effects(rows))


def _effects(rows: list[Prediction]) -> dict[Share, float]:
    """Return the design effect of each share; {} where no two posts share a unit."""
    if not is_clustered(rows):
        return {}
    read = list(zip(rows, calls(rows), strict=True))
    values: dict[Share, list[tuple[Prediction, bool]]] = {
        "false_positive_rate": [(p, c == "hate") for p, c in read if p.true_label == "normal"],
        "false_negative_rate": [(p, c != "hate") for p, c in read if p.true_label == "hate"],
        "precision": [(p, p.true_label == "hate") for p, c in read if c == "hate"],
        "selection_rate": [(p, p.label == "hate") for p in rows],
    }
    return {
        name: design_effect([hit for _, hit in found], units([p for p, _ in found]))
        for name, found in values.items()
        if found
    }


def place_of(name: str) -> tuple[int, str]:
    """Return where a group stands: the default ones, others by name, `other`, `none`."""
    own = len(_FIRST)
    if name in _LAST:
        return own + 1 + _LAST.index(name), name
    return (_FIRST.index(name) if name in _FIRST else own), name
