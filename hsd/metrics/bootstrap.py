"""A seeded, vectorised, stratified and clustered bootstrap, with BCa or percentile intervals.

A draw is a weight for each row: how often the row was drawn. Metrics are functions of weights, so
that all draws are one matrix product, and paired runs share their draws by sharing weights.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsd.metrics.classification import METRIC_NAMES, calls
from hsd.metrics.clusters import unit_numbers
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.ranking import Bools, Floats, Ranking
from hsd.prediction import Prediction

DRAWS = 2000
SEED = 42
CHUNK_CELLS = 4_000_000  # draws x rows that are drawn at once: it decides which draws they are
HOT_CELLS = 1_000_000  # draws x rows that a statistic takes at once: 8 MB stay in cache
DEFINED = 0.95  # a metric without a value in more draws than that gets no interval
FEW_PIECES, MOST_THREADS = 8, 4  # numpy lets go of the lock: threads share the work
SMALL_STRATUM = 5  # units; a smaller stratum would hardly vary, so it is drawn with its label's
JACKKNIFE_UNITS = 4000  # above, BCa's correction is below 1/60 of a standard error; percentile

Statistic = Callable[[Floats], Floats]
"""Weights (draws, rows) to values (draws, statistics); NaN where a draw defines none."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is drawn: each row's unit (rows,), and each unit's stratum (units,).

    A unit is a row, or all rows that share a template or thread: they are no independent evidence.
    """

    unit: NDArray[np.intp]
    stratum: NDArray[np.intp]

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "Design":
        """Return strata of groups and true label, over clusters where rows name one."""
        unit = unit_numbers(predictions)
        members: list[set[tuple[str, ...]]] = [set() for _ in set(unit.tolist())]
        for row, number in zip(predictions, unit, strict=True):
            members[number].add((row.true_label, *sorted(row.groups)))
        return cls(unit, _strata(["; ".join(map(" ".join, sorted(m))) for m in members], members))

    def expanded(self, weights: Floats) -> Floats:
        """Return weights of units (draws, units) as weights of rows (draws, rows)."""
        return weights[:, self.unit]

    @property
    def members(self) -> list[NDArray[np.intp]]:
        """The units of each stratum."""
        return [np.flatnonzero(self.stratum == stratum) for stratum in np.unique(self.stratum)]


@dataclass(frozen=True, slots=True)
class PredictionArrays:
    """Predictions as arrays, one entry a row; `ranking` is None unless every row has a score."""

    hate: Bools
    called: Bools
    ranking: Ranking | None

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "PredictionArrays":
        """Return the arrays of the headline policy: an unreadable reply is wrong."""
        hate = np.array([p.true_label == "hate" for p in predictions], dtype=bool)
        scores = [p.score for p in predictions if p.score is not None]
        whole = len(scores) == len(predictions)
        return cls(
            hate,
            np.array([call == "hate" for call in calls(predictions)], dtype=bool),
            Ranking.of(np.array(scores), hate) if whole else None,
        )

    def metrics(self, weights: Floats) -> Floats:
        """Return METRIC_NAMES for each draw: (draws, rows) -> (draws, 7)."""
        hate, called = self.hate, self.called
        cells = np.stack([hate & called, ~hate & ~called, ~hate & called, hate & ~called], axis=1)
        tp, tn, fp, fn = (weights @ cells.astype(np.float64)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            f1_hate = 2 * tp / (2 * tp + fp + fn)
            f1_normal = 2 * tn / (2 * tn + fp + fn)
            columns = [
                (tp + tn) / (tp + tn + fp + fn),
                tp / (tp + fp),
                tp / (tp + fn),
                f1_hate,
                (f1_hate + f1_normal) / 2,
                *self._areas(weights),
            ]
        return np.stack(columns, axis=1)

    def _areas(self, weights: Floats) -> tuple[Floats, Floats]:
        if self.ranking is None:
            nothing = np.full(len(weights), np.nan)
            return nothing, nothing
        area, precision = self.ranking.areas(weights)
        # As in `classify`: with one label only, neither says anything.
        return area, np.where(np.isnan(area), np.nan, precision)


def metric_intervals(
    predictions: Sequence[Prediction], *, draws: int = DRAWS, seed: int = SEED
) -> dict[str, Interval | None]:
    """Return a BCa interval for each headline metric."""
    arrays, design = PredictionArrays.of(predictions), Design.of(predictions)
    values = metric_draws(arrays, design, draws, seed)
    found = bca(arrays.metrics, design, draws=draws, seed=seed, values=values)
    return dict(zip(METRIC_NAMES, found, strict=True))


def metric_draws(arrays: PredictionArrays, design: Design, draws: int, seed: int) -> Floats:
    """Return METRIC_NAMES of each draw (draws, 7).

    A run's intervals and its comparison with another run ask for the same: drawn once.
    """
    return _metric_draws(_Asked(_digest(arrays, design), arrays, design), draws, seed)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is drawn, told from other things by its digest."""

    digest: bytes
    arrays: PredictionArrays = field(compare=False)
    design: Design = field(compare=False)


@lru_cache(maxsize=8)
def _metric_draws(asked: _Asked, draws: int, seed: int) -> Floats:
    found = drawn(asked.arrays.metrics, asked.design, draws, seed)
    found.flags.writeable = False
    return found


def _digest(arrays: PredictionArrays, design: Design) -> bytes:
    ranking = arrays.ranking
    parts = [arrays.hate, arrays.called, design.unit, design.stratum]
    parts += [ranking.order, ranking.starts] if ranking else []
    found = blake2b()
    for part in parts:
        found.update(f"{len(part)} ".encode() + part.tobytes())
    return found.digest()


def bootstrap(
    statistic: Statistic, design: Design, *, draws: int = DRAWS, seed: int = SEED
) -> list[Interval | None]:
    """Return a percentile interval for each column of `statistic`.

    For statistics that are not smooth in the rows, such as a largest difference, where BCa's
    jackknife would mislead.
    """
    return [percentiles(column) for column in drawn(statistic, design, draws, seed).T]


def bca(
    statistic: Statistic,
    design: Design,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    values: Floats | None = None,
) -> list[Interval | None]:
    """Return a bias-corrected and accelerated interval for each column of `statistic`.

    `values` are its draws (draws, statistics), where they are known.

    Efron (1987), several samples as in scipy.stats.bootstrap (a test holds them to 1e-12).
    Percentiles instead where BCa is not defined, or with more than JACKKNIFE_UNITS units.
    """
    values = drawn(statistic, design, draws, seed) if values is None else values
    if len(design.stratum) > JACKKNIFE_UNITS:
        return [percentiles(column) for column in values.T]
    point = statistic(np.ones((1, len(design.unit))))[0]
    accelerations = _accelerations(statistic, design)
    triples = zip(values.T, point, accelerations, strict=True)
    return [bca_ends(column, float(value), float(a)) for column, value, a in triples]


def drawn(statistic: Statistic, design: Design, draws: int, seed: int) -> Floats:
    """Return the statistic of every draw (draws, statistics); on several cores where there are."""
    counts = _counts(design.unit.size, design.stratum.tobytes(), draws, seed)
    step = max(1, HOT_CELLS // max(1, len(design.unit)))

    def some(start: int) -> Floats:
        weights = counts[start : start + step].astype(np.float64)
        return statistic(design.expanded(weights))

    starts = range(0, draws, step)
    if len(starts) < FEW_PIECES:
        return np.concatenate([some(start) for start in starts])
    with ThreadPoolExecutor(min(MOST_THREADS, _cores())) as pool:
        return np.concatenate(list(pool.map(some, starts)))


@lru_cache(maxsize=2)
def _counts(rows: int, strata: bytes, draws: int, seed: int) -> NDArray[np.unsignedinteger[Any]]:
    """Return how often each unit was drawn in each draw (draws, units).

    An evaluation's tables are all of one design: drawn once, they share its draws. A byte each
    while no unit came up 256 times: 100 MB for 50,000 posts.
    """
    rng = np.random.default_rng(seed)
    stratum = np.frombuffer(strata, dtype=np.intp)
    members = [np.flatnonzero(stratum == name) for name in np.unique(stratum)]
    step = max(1, CHUNK_CELLS // max(1, rows))
    counts: NDArray[np.unsignedinteger[Any]] = np.zeros((draws, len(stratum)), dtype=np.uint8)
    for start in range(0, draws, step):
        drawn_now = min(step, draws - start)
        for index in members:
            found = _weights(rng, drawn_now, len(index))
            if found.max(initial=0) > np.iinfo(counts.dtype).max:
                counts = counts.astype(np.uint32)
            counts[start : start + drawn_now, index] = found
    counts.flags.writeable = False
    return counts


def _cores() -> int:
    """Return how many cores this process may use; macOS tells only how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def percentiles(values: Floats) -> Interval | None:
    """Return the middle 95 % of the draws; None when too many of them define no value."""
    defined = _defined(values)
    if defined is None:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def bca_ends(values: Floats, point: float, acceleration: float) -> Interval | None:
    """Return BCa's interval from the draws, the statistic itself and the acceleration."""
    from scipy.special import ndtr, ndtri

    defined = _defined(values)
    if defined is None or not np.isfinite(point):
        return None
    bias = ndtri(((defined < point).sum() + (defined <= point).sum()) / (2 * len(defined)))
    if not np.isfinite(bias):  # the statistic itself lies beyond every draw
        return percentiles(values)
    normal = ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])) + bias
    places = ndtr(bias + normal / (1 - acceleration * normal))
    if not np.isfinite(places).all():
        return percentiles(values)
    low, high = np.quantile(defined, places)
    return Interval(float(low), float(high))


def _accelerations(statistic: Statistic, design: Design) -> Floats:
    """Return each statistic's acceleration from leaving out one unit at a time; NaN: not defined.

    Efron and Tibshirani (1993), equation 14.15, for several samples.
    """
    cubes, squares = 0.0, 0.0
    step = max(1, HOT_CELLS // max(1, len(design.unit)))
    for index in design.members:
        parts = [index[start : start + step] for start in range(0, len(index), step)]
        left = np.concatenate([statistic(_without(design, part)) for part in parts])
        n = len(index)
        influence = (n - 1) * (left.mean(axis=0) - left)
        cubes = cubes + (influence**3).sum(axis=0) / n**3
        squares = squares + (influence**2).sum(axis=0) / n**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(cubes / (6 * np.asarray(squares) ** 1.5), dtype=np.float64)


def _without(design: Design, units: NDArray[np.intp]) -> Floats:
    """Return weights (units, rows) that leave out one of `units` each."""
    return np.not_equal(design.unit[None, :], units[:, None]).astype(np.float64)


def _defined(values: Floats) -> Floats | None:
    """Return the draws that have a value; None where too few do, or where they are all the same.

    A perfect score is perfect in every draw: that is no certainty, only nothing to draw from.
    """
    defined = values[np.isfinite(values)]
    enough = len(defined) and len(defined) >= DEFINED * len(values)
    return defined if enough and bool(np.ptp(defined) > 0) else None


def _strata(names: list[str], members: list[set[tuple[str, ...]]]) -> NDArray[np.intp]:
    """Return a number for each unit's stratum; small strata join the others of their label."""
    sizes = Counter(names)
    labels = [" ".join(sorted({label for label, *_ in units})) for units in members]
    joined = [
        name if sizes[name] >= SMALL_STRATUM else f"others {label}"
        for name, label in zip(names, labels, strict=True)
    ]
    numbers = {name: number for number, name in enumerate(sorted(set(joined)))}
    return np.array([numbers[name] for name in joined], dtype=np.intp)


def _weights(rng: np.random.Generator, draws: int, rows: int) -> NDArray[np.intp]:
    """Return how often each of `rows` came up in `rows` draws with replacement."""
    places = rng.integers(rows, size=(draws, rows)) + np.arange(draws)[:, None] * rows
    return np.bincount(places.ravel(), minlength=draws * rows).reshape(draws, rows)
