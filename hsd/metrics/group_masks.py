"""Groups' posts as masks, the parts that a group's rate is made of, and rates over many draws."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hsd.example import NONE
from hsd.metrics.classification import calls
from hsd.metrics.clusters import units
from hsd.metrics.groups import MINIMUM_N, Rate, by_group
from hsd.metrics.ranking import Bools, Floats
from hsd.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Part:
    """Some posts of one group and label: their share of the rate, and which of them are wrong."""

    share: float
    rows: Bools
    wrong: Bools


Parts = Mapping[str, list[Part]]


@dataclass(frozen=True, slots=True)
class GroupMasks:
    """Predictions as masks (rows,)."""

    groups: Mapping[str, Bools]
    sources: Mapping[str, Bools]
    hate: Bools
    wrong: Bools
    units: Sequence[str]

    @classmethod
    def of(cls, predictions: Sequence[Prediction], leave_out: Collection[str] = ()) -> "GroupMasks":
        """Return the masks of all groups but `none` and those that are left out."""
        called = calls(predictions)
        pairs = zip(predictions, called, strict=True)
        names = [name for name in by_group(predictions) if name not in (NONE, *leave_out)]
        sources = sorted({p.source_dataset for p in predictions})
        return cls(
            {name: np.array([name in p.groups for p in predictions]) for name in names},
            {name: np.array([p.source_dataset == name for p in predictions]) for name in sources},
            np.array([p.true_label == "hate" for p in predictions], dtype=bool),
            np.array([p.true_label != call for p, call in pairs], dtype=bool),
            units(predictions),
        )

    def whole(self, rate: Rate) -> Parts:
        """Return all posts of a group and label as one part."""
        label = self.of_label(rate)
        parts = {name: self._part(1.0, mask & label) for name, mask in self.groups.items()}
        return {name: [part] for name, part in parts.items() if part.rows.sum() >= MINIMUM_N}

    def by_source(self, rate: Rate) -> Parts:
        """Return a part for each source of which every group has MINIMUM_N posts."""
        known, label = self.whole(rate), self.of_label(rate)
        cells = {
            source: {name: self.groups[name] & label & mask for name in known}
            for source, mask in self.sources.items()
        }
        shared = {
            source: groups
            for source, groups in cells.items()
            if groups and min(mask.sum() for mask in groups.values()) >= MINIMUM_N
        }
        sizes = {
            source: int(np.any(list(g.values()), axis=0).sum()) for source, g in shared.items()
        }
        total = sum(sizes.values())
        return {
            name: [self._part(sizes[s] / total, groups[name]) for s, groups in shared.items()]
            for name in (known if shared else ())
        }

    def of_both_labels(self) -> dict[str, Bools]:
        """Return the groups that have MINIMUM_N posts of both labels."""
        hate = self.hate
        return {
            name: mask
            for name, mask in self.groups.items()
            if min((mask & hate).sum(), (mask & ~hate).sum()) >= MINIMUM_N
        }

    def of_label(self, rate: Rate) -> Bools:
        """Return the posts that a rate is about."""
        return ~self.hate if rate == "false_positive_rate" else self.hate

    def _part(self, share: float, rows: Bools) -> Part:
        return Part(share, rows, rows & self.wrong)


def rates_by_group(parts: Parts) -> dict[str, float]:
    """Return each group's rate, joined over its parts."""
    if not parts:
        return {}
    every_row = np.ones((1, len(next(iter(parts.values()))[0].rows)))
    return dict(zip(parts, map(float, rates_in_draws(parts)(every_row)[0]), strict=True))


def rates_in_draws(parts: Parts) -> Callable[[Floats], Floats]:
    """Return what gives groups' rates in draws: weights (draws, rows) to (draws, groups)."""
    every = [part for several in parts.values() for part in several]
    if not every:
        return lambda weights: np.empty((len(weights), len(parts)))
    wrong = np.stack([part.wrong for part in every], axis=1).astype(np.float64)  # (rows, parts)
    rows = np.stack([part.rows for part in every], axis=1).astype(np.float64)
    shares = np.array([part.share for part in every])
    ends = pairwise(np.cumsum([0, *map(len, parts.values())]))
    places = [slice(first, end) for first, end in ends]

    def rates(weights: Floats) -> Floats:
        # One product for all groups; sums of whole numbers are exact in any order.
        with np.errstate(invalid="ignore"):
            found = shares * (weights @ wrong) / (weights @ rows)
        return np.stack([found[:, place].sum(axis=1) for place in places], axis=1)

    return rates


def covered_share(parts: Parts, rows: GroupMasks, rate: Rate) -> float:
    """Return the share of the label's posts about any group that the rates are computed from."""
    used = [part.rows for several in parts.values() for part in several]
    if not used:
        return 0.0
    about = rows.of_label(rate) & np.any(list(rows.groups.values()), axis=0)
    return float(np.any(used, axis=0).sum() / about.sum())
