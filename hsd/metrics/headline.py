"""Intervals of the headline metrics: the one way, whoever called the posts."""

from collections.abc import Sequence

from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.classification import classify
from hsd.metrics.clusters import is_clustered
from hsd.metrics.intervals import Interval, wilson
from hsd.metrics.prediction import Prediction


def headline_intervals(predictions: Sequence[Prediction]) -> dict[str, Interval | None]:
    """Return Wilson's interval for each metric that is a rate, the bootstrap's for the others.

    Where posts share units it is the bootstrap's for all: it draws units.
    """
    found = metric_intervals(predictions)
    if is_clustered(predictions):
        return found
    counts = classify(predictions).counts
    return found | {
        "accuracy": wilson(counts.tp + counts.tn, counts.n),
        "precision": wilson(counts.tp, counts.tp + counts.fp),
        "recall": wilson(counts.tp, counts.hates),
    }
