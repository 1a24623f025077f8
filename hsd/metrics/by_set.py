"""Models on several sets: each by itself on each set, against the first, and its mean over sets.

A mean over sets counts each set alike, however many posts it holds, and its interval is over sets
too: it says what other sets like these would give, which takes more than two of them to say much.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hsd.metrics.changes import MetricChange
from hsd.metrics.classification import classify
from hsd.metrics.comparison import Comparison, metric_changes
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.seen_in_training import Overlaps, overlaps
from hsd.prediction import Prediction

METRICS = ("auroc", "f1")
"""How posts are ranked, whatever the threshold, and how they are called."""

STILL = 1e-9
"""Values that lie no further apart than this are the same: they say nothing about other sets."""

Mark = Literal["better", "worse", ""]
Predictions = Sequence[Prediction]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its interval, and its difference to the reference's with the paired one.

    `difference` and `change` are None for the reference itself and where it has no value.
    """

    value: float | None
    interval: Interval | None
    difference: float | None = None
    change: Interval | None = None

    @property
    def mark(self) -> Mark:
        """Whether it differs from the reference by more than the paired interval leaves to chance.

        Each by itself: of twenty differences that are none, about one is marked.
        """
        if self.change is None:
            return ""
        return "better" if self.change.low > 0 else "worse" if self.change.high < 0 else ""


@dataclass(frozen=True, slots=True)
class SetRow:
    """A model: an estimate for each metric on each set that it answered, and their means.

    A metric has a mean only where the model has a value on every set.
    """

    name: str
    cells: Mapping[str, Mapping[str, Estimate]]
    means: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class BySet:
    """Models by sets; the first is the reference. `sets` has the posts of each set."""

    metrics: tuple[str, ...]
    sets: Mapping[str, int]
    rows: tuple[SetRow, ...]
    overlaps: Overlaps

    @property
    def reference(self) -> str:
        """The model that the others are compared with."""
        return self.rows[0].name


def by_set(
    answered: Mapping[str, Mapping[str, Predictions]],
    compared: Mapping[str, Sequence[Comparison]],
    models: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
) -> BySet:
    """Return the table of models by sets.

    `answered` has for each set the rows of each model that answered it, `compared` comparisons on
    it that were had before. `models` are all of them, the reference first, those without any set
    included; by default in the order in which they come up.
    """
    names = models or list(dict.fromkeys(name for runs in answered.values() for name in runs))
    reference = names[0]
    cells = {
        name: {
            of: _estimates(runs, reference, name, compared.get(of, ()), metrics)
            for of, runs in answered.items()
            if name in runs
        }
        for name in names
    }
    rows = [
        SetRow(name, cells[name], _means(name, reference, cells, answered, metrics))
        for name in names
    ]
    posts = {of: next(iter(runs.values()), ()) for of, runs in answered.items()}
    sizes = {of: len(found) for of, found in posts.items()}
    return BySet(tuple(metrics), sizes, tuple(rows), overlaps(posts))


def over_sets(values: Sequence[float], low: float, high: float) -> Interval | None:
    """Return Student's interval of the mean of sets drawn from many, within `low` and `high`.

    None with fewer than two sets, and where all have one value.
    """
    if len(values) < 2 or np.ptp(values) < STILL:
        return None
    from scipy.stats import t

    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(max(low, mean - half), min(high, mean + half))


def _estimates(
    runs: Mapping[str, Predictions],
    reference: str,
    name: str,
    compared: Iterable[Comparison],
    metrics: Sequence[str],
) -> dict[str, Estimate]:
    rows = sorted(runs[name], key=lambda p: p.id)  # draws are by place; a file's order is no matter
    found, intervals = classify(rows), headline_intervals(rows)
    changes = {one.name: one for one in _changes(runs, reference, name, compared)}
    return {
        metric: Estimate(getattr(found, metric), intervals[metric], *_change(changes.get(metric)))
        for metric in metrics
    }


def _changes(
    runs: Mapping[str, Predictions], reference: str, name: str, compared: Iterable[Comparison]
) -> Sequence[MetricChange]:
    """Return what changed from the reference on one set; nothing where it did not answer it."""
    if name == reference or reference not in runs:
        return ()
    for one in compared:
        if (one.reference, one.other) == (reference, name):
            return one.metrics
    return metric_changes(runs[reference], runs[name], (reference, name))


def _change(found: MetricChange | None) -> tuple[float | None, Interval | None]:
    return (found.difference, found.interval) if found else (None, None)


def _means(
    name: str,
    reference: str,
    cells: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    sets: Iterable[str],
    metrics: Sequence[str],
) -> dict[str, Estimate]:
    own = {metric: _values(cells[name], sets, metric) for metric in metrics}
    first = {metric: _values(cells[reference], sets, metric) for metric in metrics}
    return {
        metric: _mean(values, None if name == reference else first[metric])
        for metric, values in own.items()
        if values
    }


def _values(
    cells: Mapping[str, Mapping[str, Estimate]], sets: Iterable[str], metric: str
) -> list[float]:
    """Return the metric on every set; [] where it is missing on any."""
    values = [cells[of][metric].value if of in cells else None for of in sets]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _mean(values: Sequence[float], first: Sequence[float] | None) -> Estimate:
    mean = Estimate(float(np.mean(values)), over_sets(values, 0.0, 1.0))
    if not first:
        return mean
    changes = [one - other for one, other in zip(values, first, strict=True)]
    between = over_sets(changes, -1.0, 1.0)
    return Estimate(mean.value, mean.interval, float(np.mean(changes)), between)
