"""95 % intervals of rates and of paired rate differences, and the exact McNemar test."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def wilson(hits: float, n: float) -> Interval | None:
    """Return Wilson's interval of the rate hits / n; None without a row.

    Clustered rows count as fewer (`hsd.metrics.clusters`), so both may be no whole numbers.
    """
    if n == 0:
        return None
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, n, alpha=1 - LEVEL, method="wilson")
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test on the rows that two runs disagree on.

    1.0 where they disagree on none: no evidence of a difference either way.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, discordant).pvalue)


def sign_flips(changes: Iterable[int]) -> float:
    """Return the exact two-sided p of a sum of changes if each were as likely the other way round.

    With changes of 1 and -1 this is McNemar's test; a unit of several rows is flipped as a whole.
    """
    known = [change for change in changes if change]
    if not known:
        return 1.0
    sizes = [abs(change) for change in known]
    ways = np.ones(1)  # the chance of each sum, from the lowest to the highest in steps of 1
    for size in sizes:
        flipped = np.zeros(len(ways) + 2 * size)
        flipped[: len(ways)] += ways / 2
        flipped[2 * size :] += ways / 2
        ways = flipped
    distance = np.abs(np.arange(len(ways)) - sum(sizes))
    return min(1.0, float(ways[distance >= abs(sum(known))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: each as it is when all of them were looked at."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def paired_rate(risen: float, fallen: float, n: float) -> Interval | None:
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
