"""How far a score moves when its post is computed beside others, and whose calls that may turn.

What a post is computed beside changes the order of sums and the kernels that do them. In exact
arithmetic nothing would move; in 16 bit a score does, and a call near the threshold is chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from hsd.prediction import Prediction

SUREST = 30.0
"""Largest log-odds told apart: closer to 1 a score has too few digits left."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How scores of the same posts differ, computed alone and in their batch.

    `mean` and `largest` are differences of P(hate). `largest_log_odds` is one of ln(p / (1 - p)),
    which are about as large for sure scores as for others.
    """

    dtype: str
    posts: int
    mean: float
    largest: float
    largest_log_odds: float


@dataclass(frozen=True, slots=True)
class Near:
    """A threshold, by how much a score there moves at most, and how many posts lie that near."""

    threshold: float
    moves: float
    posts: int


def noise(
    alone: Mapping[str, float], predictions: Sequence[Prediction], dtype: str
) -> Noise | None:
    """Return how scores by id, each computed alone, differ from those of the predictions.

    None where no post has both. `dtype` is the number format that they were computed in.
    """
    together = {p.id: p.score for p in predictions if p.id in alone}
    pairs = [(alone[id], score) for id, score in together.items() if score is not None]
    if not pairs:
        return None
    moved = [abs(one - other) for one, other in pairs]
    odds = [abs(_log_odds(one) - _log_odds(other)) for one, other in pairs]
    return Noise(dtype, len(pairs), sum(moved) / len(pairs), max(moved), max(odds))


def near(predictions: Sequence[Prediction], noise: Noise, threshold: float) -> Near:
    """Return whose calls at a threshold the noise may turn. Rows without a score have none."""
    if not 0 < threshold < 1:  # nobody is near one that calls all posts the same
        return Near(threshold, 0.0, 0)
    at, by = _log_odds(threshold), noise.largest_log_odds
    moves = max(_score(at + by) - threshold, threshold - _score(at - by))
    scores = [p.score for p in predictions if p.score is not None]
    return Near(threshold, moves, sum(abs(_log_odds(score) - at) <= by for score in scores))


def _log_odds(score: float) -> float:
    if score <= 0 or score >= 1:
        return SUREST if score >= 1 else -SUREST
    return min(max(log(score / (1 - score)), -SUREST), SUREST)


def _score(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))
