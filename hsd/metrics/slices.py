"""The same numbers for parts of the posts: by source, length, and without what is disputed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hsd.metrics.classification import METRIC_NAMES, Metrics, classify
from hsd.metrics.groups import MINIMUM_N, Group, grouped
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import Interval
from hsd.prediction import Prediction

LENGTHS = (50, 100, 200)
"""Ends of the length slices in characters: a short reply, a line, a long post, more."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the posts: what they share, their counts and headline metrics with intervals.

    A metric is None with fewer than MINIMUM_N posts, and F1 with fewer than that of either label.
    """

    kind: str
    name: str
    group: Group
    metrics: Metrics
    intervals: Mapping[str, Interval | None]


def slices(predictions: Sequence[Prediction]) -> list[Slice]:
    """Return the slices by source, by source label, without `offensive`, and by length.

    A kind that has one slice only says nothing, and is left out.
    """
    return [
        *_by("source", predictions, lambda p: p.source_dataset or "unnamed"),
        *_by("source label", predictions, lambda p: p.label_multiclass or "unnamed"),
        *_without_offensive(predictions),
        *_by("length", predictions, length_of, _numbers),
    ]


def length_of(prediction: Prediction) -> str:
    """Return the name of a post's length slice."""
    size = len(prediction.text)
    ends = [end for end in LENGTHS if size <= end]
    return f"up to {ends[0]} characters" if ends else f"over {LENGTHS[-1]} characters"


def _by(
    kind: str,
    predictions: Sequence[Prediction],
    name: Callable[[Prediction], str],
    order: Callable[[str], Any] = str,
) -> list[Slice]:
    groups = grouped(predictions, lambda p: (name(p),))
    if len(groups) < 2:
        return []
    rows = {n: [p for p in predictions if name(p) == n] for n in groups}
    return [_slice(kind, n, groups[n], rows[n]) for n in sorted(groups, key=order)]


def _slice(kind: str, name: str, group: Group, rows: Sequence[Prediction]) -> Slice:
    metrics = classify(rows)
    known = {"accuracy"} if len(rows) >= MINIMUM_N else set()
    if min(metrics.counts.hates, metrics.counts.normals) >= MINIMUM_N:
        known = set(METRIC_NAMES)
    hidden: dict[str, Any] = {metric: None for metric in METRIC_NAMES if metric not in known}
    found = headline_intervals(rows) if known else {}
    shown = {metric: found.get(metric) if metric in known else None for metric in METRIC_NAMES}
    return Slice(kind, name, group, replace(metrics, **hidden), shown)


def _without_offensive(predictions: Sequence[Prediction]) -> list[Slice]:
    """Return the view without posts that people called offensive, which here count as normal."""
    rows = [p for p in predictions if p.label_multiclass != "offensive"]
    if not rows or len(rows) == len(predictions):
        return []
    name = "without offensive"
    (group,) = grouped(rows, lambda _: (name,)).values()
    return [_slice("view", name, group, rows)]


def _numbers(name: str) -> tuple[bool, list[int]]:
    """Order lengths by their numbers."""
    return name.startswith("over"), [int(word) for word in name.split() if word.isdigit()]
