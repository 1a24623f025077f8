"""Rows that share a template or a thread are less evidence than as many rows that do not."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hsd.metrics.intervals import LEVEL
from hsd.prediction import Prediction

TRUSTED_UNITS = 20
"""With so many units that differ from the others their variance is taken as it is estimated."""


def units(predictions: Sequence[Prediction]) -> list[str]:
    """Return what each row is drawn with: its cluster, or itself."""
    return [f"cluster {p.cluster}" if p.cluster else f"row {p.id}" for p in predictions]


def unit_numbers(predictions: Sequence[Prediction]) -> NDArray[np.intp]:
    """Return each row's unit (rows,) as a number, from 0 on in the order of the rows."""
    names = units(predictions)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.intp)


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

    The variance of the mean over units to that over rows (Rao and Scott, 1992), larger where few
    units tell of it (Korn and Graubard, 1998). It cannot be estimated where hardly any unit differs
    from the others, as when no row is an error: the fewer do, the nearer a unit is to one row.
    """
    n, sizes = len(values), Counter(names)
    m = len(sizes)
    if m == n:
        return 1.0
    if m == 1:
        return float(n)
    usual = Counter(values).most_common(1)[0][0]
    odd = {name for value, name in zip(values, names, strict=True) if value != usual}
    estimate = max(1.0, _variances(values, names)) if odd else 1.0
    alike = max(estimate, sum(size * size for size in sizes.values()) / n)
    trust = min(1.0, len(odd) / TRUSTED_UNITS)
    return (trust * estimate + (1 - trust) * alike) * _few(m)


def _variances(values: Sequence[float], names: Sequence[str]) -> float:
    """Return the variance of the mean over units to that over rows."""
    n, m = len(values), len(set(names))
    mean = sum(values) / n
    rest = [value - mean for value in values]
    apart = sum(one * one for one in rest) * n / (n - 1)
    together = sum(one * one for one in sums(rest, names).values()) * m / (m - 1)
    return together / apart


def _few(units: int) -> float:
    """Return by how much Student's t with so many units is wider than the normal, squared."""
    from scipy.special import ndtri, stdtrit

    end = (1 + LEVEL) / 2
    return float((stdtrit(units - 1, end) / ndtri(end)) ** 2)
