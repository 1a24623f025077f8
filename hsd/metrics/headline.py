"""Intervals of the headline metrics: the one way, whoever called the posts."""

from collections.abc import Sequence

from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.classification import calls
from hsd.metrics.clusters import units
from hsd.metrics.groups import Proportion
from hsd.metrics.intervals import Interval
from hsd.prediction import Prediction


def headline_intervals(predictions: Sequence[Prediction]) -> dict[str, Interval | None]:
    """Return Wilson's interval for each metric that is a rate, the bootstrap's for the others."""
    read = list(zip(predictions, calls(predictions), strict=True))
    rates = {
        "accuracy": [(p, p.is_right) for p in predictions],
        "precision": [(p, p.true_label == "hate") for p, call in read if call == "hate"],
        "recall": [(p, call == "hate") for p, call in read if p.true_label == "hate"],
    }
    return metric_intervals(predictions) | {name: _rate(found) for name, found in rates.items()}


def _rate(hits: Sequence[tuple[Prediction, bool]]) -> Interval | None:
    return Proportion.of([hit for _, hit in hits], units([p for p, _ in hits])).ends
