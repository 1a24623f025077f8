"""Rows that share a template or a thread are less evidence than as many rows that do not."""

from collections import defaultdict
from collections.abc import Sequence

from hsd.metrics.prediction import Prediction


def unit(prediction: Prediction) -> str:
    """Return what a row is drawn with: its cluster, or itself."""
    return f"cluster {prediction.cluster}" if prediction.cluster else f"row {prediction.id}"


def units(predictions: Sequence[Prediction]) -> list[str]:
    """Return each row's unit."""
    return [unit(prediction) for prediction in predictions]


def is_clustered(predictions: Sequence[Prediction]) -> bool:
    """Return whether any two rows share a unit."""
    return len(set(units(predictions))) < len(predictions)


def sums(values: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """Return the sum of the values of each unit."""
    found: dict[str, float] = defaultdict(float)
    for value, name in zip(values, names, strict=True):
        found[name] += value
    return dict(found)


def design_effect(values: Sequence[float], names: Sequence[str]) -> float:
    """Return how many clustered rows tell as much about their mean as one row by itself; >= 1.

    The variance of the mean over units to that over rows (Rao and Scott, 1992). Where all values
    are equal neither is known, and a unit counts as one row.
    """
    n, m = len(values), len(set(names))
    if m == n:
        return 1.0
    mean = sum(values) / n
    rest = [value - mean for value in values]
    apart = sum(one * one for one in rest) * n / (n - 1)
    if apart < 1e-12 or m == 1:
        return n / m
    together = sum(one * one for one in sums(rest, names).values()) * m / (m - 1)
    return max(1.0, together / apart)
