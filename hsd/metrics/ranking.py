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
    """Rows ordered by score, highest first; `starts` is where each run of equal scores begins."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    hate: Bools

    @classmethod
    def of(cls, scores: Floats, hate: Bools) -> "Ranking":
        """Return the ranking of scores (rows,) with their true labels."""
        order = np.argsort(-scores, kind="stable")
        starts = np.unique(-scores[order], return_index=True)[1]
        return cls(order, starts, hate[order])

    def roc_area(self, weights: Floats) -> Floats:
        """Return the area under the ROC curve of each draw; NaN without both labels."""
        return self.areas(weights)[0]

    def average_precision(self, weights: Floats) -> Floats:
        """Return the average precision of each draw; NaN without a hateful row."""
        return self.areas(weights)[1]

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return both: the ROC curve's area, and the average precision."""
        positive, negative = self._by_score(weights)
        found = np.cumsum(positive, axis=1)
        called = np.cumsum(negative, axis=1)
        called += found
        wins = _wins(positive, negative, found)
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        hits = np.einsum("ij,ij->i", positive, precision)
        hates, normals = positive.sum(axis=1), negative.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return wins / (hates * normals), hits / hates

    def wins(self, weights: Floats) -> Floats:
        """Return the weight of pairs in which the hateful row has the higher score, of each draw.

        A tie is half a pair.
        """
        positive, negative = self._by_score(weights)
        return _wins(positive, negative, np.cumsum(positive, axis=1))

    def beaten(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return for each row the weight of normal rows below it, and of hateful rows above it.

        Both are (draws, rows) in the order of the rows; a row of the same score counts half.
        """
        positive, negative = self._by_score(weights)
        above = np.cumsum(positive, axis=1)
        above -= positive / 2
        to_here = np.cumsum(negative, axis=1)
        below = to_here[:, -1:] - to_here
        below += negative / 2
        sizes = np.diff([*self.starts, len(self.order)])
        run = np.empty(len(self.order), dtype=np.intp)  # each row's place among the scores
        run[self.order] = np.repeat(np.arange(len(self.starts)), sizes)
        return below[:, run], above[:, run]

    def _by_score(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weight of hateful and of normal rows at each score (draws, scores)."""
        if not len(self.order):
            return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
        ordered = weights[:, self.order]
        hate = ordered * self.hate
        ordered -= hate
        if len(self.starts) == len(self.order):  # no two rows have one score
            return hate, ordered
        return (
            np.add.reduceat(hate, self.starts, axis=1),
            np.add.reduceat(ordered, self.starts, axis=1),
        )


def _wins(positive: Floats, negative: Floats, found: Floats) -> Floats:
    """Return the pairs won: hateful rows above each normal one, half of those beside it."""
    wins: Floats = np.einsum("ij,ij->i", negative, found)
    wins -= np.einsum("ij,ij->i", negative, positive) / 2
    return wins
