"""Whether a score of .8 means hate four times in five: reliability, ECE, Brier, temperature.

ECE with ten equal bins (Guo et al., 2017) of P(hate) against the share of hate. It is never below
0, and large by chance where posts are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hsd.example import NONE
from hsd.metrics.bootstrap import CHUNK_CELLS, DRAWS, SEED, Design, drawn, percentiles
from hsd.metrics.groups import by_group
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction

BINS = 10
MINIMUM_N = 20
"""Rows below which ten bins say nothing."""
SURE = 1e-12  # a score nearer to 0 or 1 than this has no finite logit in float64


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows with scores in [low, high): how many, their mean score, and the share of hate."""

    low: float
    high: float
    n: int
    mean_score: float
    share_hate: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, Brier score and the reliability bins that hold rows.

    `ece_p` is how often scores that mean what they say would give as large an error.
    """

    n: int
    ece: float
    ece_interval: Interval | None
    ece_p: float
    brier: float
    brier_interval: Interval | None
    bins: tuple[Bin, ...]


def calibration(
    predictions: Sequence[Prediction], *, draws: int = DRAWS, seed: int = SEED
) -> Calibration | None:
    """Return how well scores are calibrated; None without a score in every of MINIMUM_N rows."""
    from sklearn.metrics import brier_score_loss

    if len(predictions) < MINIMUM_N or any(p.score is None for p in predictions):
        return None
    scores = np.array([p.score or 0.0 for p in predictions])
    hate = np.array([p.true_label == "hate" for p in predictions], dtype=np.float64)
    place = _places(scores)
    inside = _inside(place)

    def statistics(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        apart = np.abs(weights @ (inside * (scores - hate)[:, None])).sum(axis=1)
        return np.stack([apart / total, weights @ (scores - hate) ** 2 / total], axis=1)

    design = Design.of(predictions)
    found = drawn(statistics, design, draws, seed)
    value = float(statistics(np.ones((1, len(scores))))[0, 0])
    chance = _chance(value, scores, inside, design, draws, seed)
    return Calibration(
        len(predictions), value, _reflected(value, found[:, 0], chance), chance,
        float(brier_score_loss(hate, scores)), percentiles(found[:, 1]),
        tuple(_bins(scores, hate, place)),
    )  # fmt: skip


def binned_error(scores: Floats, targets: Floats) -> float:
    """Return the ECE of scores against targets in [0, 1]: labels, or shares of votes."""
    apart = np.abs((scores - targets) @ _inside(_places(scores))).sum()
    return float(apart / len(scores))


def _chance(
    value: float, scores: Floats, inside: Floats, design: Design, draws: int, seed: int
) -> float:
    """Return how often perfectly calibrated scores would give so large an ECE.

    Labels are drawn as the scores say: consistency resampling (Bröcker and Smith, 2007). Rows of
    one unit share their luck.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // len(scores))
    as_large = 0
    for start in range(0, draws, step):
        luck = rng.random((min(step, draws - start), len(design.stratum)))
        labels = design.expanded(luck) < scores
        eces = np.abs((scores - labels) @ inside).sum(axis=1) / len(scores)
        as_large += int((eces >= value - 1e-12).sum())
    return (as_large + 1) / (draws + 1)


def _reflected(value: float, draws: Floats, chance: float) -> Interval | None:
    """Return the interval of an ECE, which is too large in a sample and twice so in its draws.

    So the draws' percentiles are reflected at the value, and it begins at 0 where chance explains
    the value. In simulations of 60 to 1,000 posts it held the truth in 80 to 96 %, the draws' own
    percentiles in 0 to 96 %.
    """
    ends = percentiles(draws)
    if ends is None:
        return None
    low = 0.0 if chance > 1 - LEVEL else max(0.0, 2 * value - ends.high)
    return Interval(min(low, value), max(value, 2 * value - ends.low))


def calibration_by_group(predictions: Sequence[Prediction]) -> dict[str, Calibration]:
    """Return the calibration of each group that has MINIMUM_N posts."""
    names = [name for name in by_group(predictions) if name != NONE]
    found = {name: calibration([p for p in predictions if name in p.groups]) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def fit_temperature(predictions: Sequence[Prediction]) -> float:
    """Return the T that makes sigmoid(logit / T) likeliest; fit it on validation rows only.

    Above 1 the model was too sure of itself. One number, so no rank of scores changes.
    """
    from scipy.optimize import minimize_scalar

    hate = np.array([p.true_label == "hate" for p in predictions])
    logits = _logits(np.array([p.score for p in predictions], dtype=np.float64))
    signed = np.where(hate, logits, -logits)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))


def at_temperature(predictions: Sequence[Prediction], temperature: float) -> list[Prediction]:
    """Return the same rows with their scores scaled; labels stay, since no rank changes."""
    scores = scaled(np.array([p.score for p in predictions], np.float64), temperature)
    return [replace(p, score=float(s)) for p, s in zip(predictions, scores, strict=True)]


def scaled(scores: Floats, temperature: float) -> Floats:
    """Return scores at a temperature: sigmoid(logit / T)."""
    from scipy.special import expit

    found: Floats = expit(_logits(scores) / temperature)
    return found


def _places(scores: Floats) -> "np.typing.NDArray[np.intp]":
    """Return the bin of each score (rows,)."""
    return np.minimum((scores * BINS).astype(np.intp), BINS - 1)


def _inside(place: "np.typing.NDArray[np.intp]") -> Floats:
    """Return 1 where a row is in a bin (rows, bins)."""
    found: Floats = (place[:, None] == np.arange(BINS)).astype(np.float64)
    return found


def _logits(scores: Floats) -> Floats:
    kept = np.clip(scores, SURE, 1 - SURE)
    found: Floats = np.log(kept) - np.log1p(-kept)
    return found


def _bins(scores: Floats, hate: Floats, place: "np.typing.NDArray[np.intp]") -> list[Bin]:
    return [
        Bin(
            number / BINS,
            (number + 1) / BINS,
            int((place == number).sum()),
            float(scores[place == number].mean()),
            float(hate[place == number].mean()),
        )
        for number in np.unique(place).tolist()
    ]
