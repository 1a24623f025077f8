"""Areas under the ROC and precision-recall curves for many weightings of the same rows at once.

Weights are (draws, rows); a row that takes no part weighs 0. Tied scores are one threshold, as in
scikit-learn, whose values these are for one weighting (a test holds them to 1e-12).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows ordered by score, lowest first; `starts` is where each run of equal scores begins."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    hate: Bools

    @classmethod
    def of(cls, scores: Floats, hate: Bools) -> "Ranking":
        """Return the ranking of scores (rows,) with their true labels."""
        order = np.argsort(scores, kind="stable")
        starts = np.unique(scores[order], return_index=True)[1]
        return cls(order, starts, hate[order])

    def roc_area(self, weights: Floats) -> Floats:
        """Return the area under the ROC curve of each draw; NaN without both labels."""
        positive, negative = self._by_score(weights)
        below = np.cumsum(negative, axis=1) - negative / 2
        wins = (positive * below).sum(axis=1)
        with np.errstate(invalid="ignore"):
            area: Floats = wins / (positive.sum(axis=1) * negative.sum(axis=1))
        return area

    def average_precision(self, weights: Floats) -> Floats:
        """Return the average precision of each draw; NaN without a hateful row."""
        positive, negative = (part[:, ::-1] for part in self._by_score(weights))
        called = np.cumsum(positive + negative, axis=1)
        found = np.cumsum(positive, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(called > 0, found / called, 0.0)
            area: Floats = (positive * precision).sum(axis=1) / positive.sum(axis=1)
        return area

    def _by_score(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weight of hateful and of normal rows at each score (draws, scores)."""
        if not len(self.order):
            return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
        ordered = weights[:, self.order]
        hate = np.add.reduceat(ordered * self.hate, self.starts, axis=1)
        normal = np.add.reduceat(ordered * ~self.hate, self.starts, axis=1)
        return hate, normal
