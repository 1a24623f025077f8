"""95 % intervals of rates and of paired rate differences, and the exact McNemar test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def wilson(hits: int, n: int) -> Interval | None:
    """Return Wilson's interval of the rate hits / n; None without a row."""
    if n == 0:
        return None
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test on the rows that two runs disagree on.

    1.0 where they disagree on none: no evidence of a difference either way.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, discordant).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: each as it is when all of them were looked at."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def paired_rate(risen: int, fallen: int, n: int) -> Interval | None:
    """Return the interval of a rate's change on the same `n` rows; None without a row.

    `risen` rows became errors and `fallen` ones ceased to be. Adjusted Wald interval of Bonett
    and Price (2012): unlike a bootstrap it does not claim certainty where no row changed.
    """
    if n == 0:
        return None
    from scipy.stats import norm

    up, down = (risen + 1) / (n + 2), (fallen + 1) / (n + 2)
    half = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return Interval(max(-1.0, up - down - half), min(1.0, up - down + half))
