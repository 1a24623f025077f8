"""Whether a score says how many annotators would call a post hate, and whether it says the label.

A share of votes takes the place of the label, a 1 or a 0. So ECE (Guo et al., 2017) compares the
mean score of a bin with its mean share, the Brier score is the squared distance between score and
share, and the log-loss their cross-entropy (Peterson et al., 2019; Uma et al., 2021). Where people
disagree, a majority's label is no probability to be calibrated to (Baan et al., 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsd.metrics.bootstrap import DRAWS, SEED, Design, drawn, percentiles
from hsd.metrics.calibration import MINIMUM_N, SURE, binned_error
from hsd.metrics.intervals import Interval
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Apart:
    """How far scores lie from what they are judged by; the log-loss is in nats.

    The ECE has no interval: by how much chance raises it depends on how many votes are behind a
    share, which is not known.
    """

    ece: float
    brier: float
    brier_interval: Interval | None
    log_loss: float
    log_loss_interval: Interval | None


@dataclass(frozen=True, slots=True)
class ShareCalibration:
    """The same scores against shares of votes and against labels, of the `n` posts with a share.

    `disputed` are those whose annotators were not of one mind. `least_log_loss` is the mean entropy
    of the shares: what the log-loss against them would be if every score were the share.
    """

    n: int
    disputed: int
    least_log_loss: float
    against_share: Apart
    against_label: Apart


def share_calibration(
    predictions: Sequence[Prediction], *, draws: int = DRAWS, seed: int = SEED
) -> ShareCalibration | None:
    """Return how scores lie to shares; None below MINIMUM_N posts with one, or without a score."""
    rows = [p for p in predictions if p.hate_share is not None]
    if len(rows) < MINIMUM_N or any(p.score is None for p in rows):
        return None
    scores = np.array([p.score for p in rows], dtype=np.float64)
    shares = np.array([p.hate_share for p in rows], dtype=np.float64)
    labels = np.array([p.true_label == "hate" for p in rows], dtype=np.float64)
    targets = np.stack([shares, labels])  # (2, rows)
    losses = np.concatenate([(scores - targets) ** 2, log_losses(scores, targets)])  # (4, rows)

    def means(weights: Floats) -> Floats:
        found: Floats = weights @ losses.T / weights.sum(axis=1, keepdims=True)
        return found

    ends = [percentiles(column) for column in drawn(means, Design.of(rows), draws, seed).T]
    value = losses.mean(axis=1).tolist()
    share, label = (
        Apart(binned_error(scores, target), value[at], ends[at], value[at + 2], ends[at + 2])
        for at, target in enumerate(targets)
    )
    disputed = int(((shares > 0) & (shares < 1)).sum())
    return ShareCalibration(len(rows), disputed, entropy(shares), share, label)


def log_losses(scores: Floats, targets: Floats) -> Floats:
    """Return each score's cross-entropy with its target, in nats; a score is never quite sure."""
    kept = np.clip(scores, SURE, 1 - SURE)
    found: Floats = -(targets * np.log(kept) + (1 - targets) * np.log1p(-kept))
    return found


def entropy(shares: NDArray[np.float64]) -> float:
    """Return the mean entropy of shares in nats, 0 where all annotators agree."""
    from scipy.special import entr

    return float((entr(shares) + entr(1 - shares)).mean())
