"""A seeded, vectorised, stratified bootstrap, and the metrics it resamples.

A draw is a weight for each row: how often the row was drawn. Metrics are functions of weights,
so that all draws are one matrix product, and paired runs share their draws by sharing weights.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsd.metrics.classification import METRIC_NAMES, calls
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.prediction import Prediction

DRAWS = 2000
SEED = 42
CHUNK_CELLS = 4_000_000  # draws x rows held at once: 32 MB of weights
DEFINED = 0.95  # a metric without a value in more draws than that gets no interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Weights (draws, rows) to values (draws, statistics); NaN where a draw defines none."""


@dataclass(frozen=True, slots=True)
class Table:
    """Predictions as arrays, one entry a row; `scores` is None unless every row has one."""

    hate: NDArray[np.bool_]
    called: NDArray[np.bool_]
    scores: Floats | None

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "Table":
        """Return the arrays of the headline policy: an unreadable reply is wrong."""
        scores = [p.score for p in predictions if p.score is not None]
        return cls(
            np.array([p.true_label == "hate" for p in predictions], dtype=bool),
            np.array([call == "hate" for call in calls(predictions)], dtype=bool),
            np.array(scores) if len(scores) == len(predictions) else None,
        )

    def metrics(self, weights: Floats) -> Floats:
        """Return METRIC_NAMES for each draw: (draws, rows) -> (draws, 6)."""
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
                self.auroc(weights),
            ]
        return np.stack(columns, axis=1)

    def auroc(self, weights: Floats) -> Floats:
        """Return the area under the ROC curve for each draw; ties count half."""
        if self.scores is None or not len(self.scores):
            return np.full(len(weights), np.nan)
        order = np.argsort(self.scores, kind="stable")
        starts = np.unique(self.scores[order], return_index=True)[1]
        hate = self.hate[order]
        positive = np.add.reduceat(weights[:, order] * hate, starts, axis=1)
        negative = np.add.reduceat(weights[:, order] * ~hate, starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        wins = (positive * below).sum(axis=1)
        with np.errstate(invalid="ignore"):
            area: Floats = wins / (positive.sum(axis=1) * negative.sum(axis=1))
        return area


def metric_intervals(
    predictions: Sequence[Prediction], *, draws: int = DRAWS, seed: int = SEED
) -> dict[str, Interval | None]:
    """Return an interval for each headline metric, resampled within each true label."""
    table = Table.of(predictions)
    found = bootstrap(table.metrics, table.hate, draws=draws, seed=seed)
    return dict(zip(METRIC_NAMES, found, strict=True))


def bootstrap(
    statistic: Statistic, strata: NDArray[np.generic], *, draws: int = DRAWS, seed: int = SEED
) -> list[Interval | None]:
    """Return a percentile interval for each column of `statistic`."""
    values = np.concatenate([statistic(weights) for weights in resample(strata, draws, seed)])
    return [percentiles(column) for column in values.T]


def resample(strata: NDArray[np.generic], draws: int, seed: int) -> Iterator[Floats]:
    """Yield weights (some draws, rows); each stratum keeps its number of rows in every draw."""
    rng = np.random.default_rng(seed)
    rows = len(strata)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    step = max(1, CHUNK_CELLS // max(1, rows))
    for start in range(0, draws, step):
        weights = np.zeros((min(step, draws - start), rows))
        for index in members:
            weights[:, index] = _weights(rng, len(weights), len(index))
        yield weights


def percentiles(values: Floats) -> Interval | None:
    """Return the middle 95 % of the draws; None when too many of them define no value."""
    defined = values[np.isfinite(values)]
    if not len(defined) or len(defined) < DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _weights(rng: np.random.Generator, draws: int, rows: int) -> NDArray[np.intp]:
    """Return how often each of `rows` came up in `rows` draws with replacement."""
    drawn = rng.integers(rows, size=(draws, rows)) + np.arange(draws)[:, None] * rows
    return np.bincount(drawn.ravel(), minlength=draws * rows).reshape(draws, rows)
