"""Scores of other programs as P(hate) and back: a threshold is said in the file's own scale."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hsd.config.import_config import Scale

_DIGITS = range(3, 17)
"""Of a threshold: as many as are needed to call the same posts hate."""


def probability(score: float, scale: Scale, cut: float | None = None) -> float:
    """Return a score from 0 to 1; of a rank, a number in its order that is .5 at the cut."""
    if scale == "percent":
        return score / 100
    if scale == "logit":
        small = math.exp(-abs(score))
        return (1.0 if score >= 0 else small) / (1 + small)
    if scale == "rank":
        above = score - (cut or 0.0)
        return 0.5 + above / (2 * (1 + abs(above)))
    return score


def given_score(found: float, scale: Scale, cut: float | None = None) -> float:
    """Return the score that `probability` made `found` from, for a `found` between 0 and 1."""
    if scale == "percent":
        return found * 100
    if scale == "logit":
        return math.log(found / (1 - found))
    if scale == "rank":
        apart = 2 * found - 1
        return (cut or 0.0) + apart / (1 - abs(apart))
    return found


def own_scale(threshold: float, scores: Sequence[float], config: Mapping[str, Any]) -> str | None:
    """Return a threshold of P(hate) in the scale of the file: `hate from 27.76 % on`.

    `scores` are those that it was chosen on, `config` the import's. None where the file's scores
    are P(hate), or of the predicted label, which one threshold does not part.
    """
    scale, of = config.get("scores", "probability"), config.get("score_of", "hate")
    if of == "label" or (scale == "probability" and of == "hate"):
        return None
    if threshold >= 1:
        return "no score is hate"
    cut, is_turned = config.get("cut"), of == "normal"
    inner = min(max(threshold, 1e-15), 1 - 1e-15)  # logits and ranks have no end
    exact = given_score(1 - inner if is_turned else inner, scale, cut)
    hate = sum(score > threshold for score in scores)
    for digits in _DIGITS:
        said = f"{exact:.{digits}g}"
        found = probability(float(said), scale, cut)
        found = 1 - found if is_turned else found
        if sum(score >= found for score in scores) == hate:
            break
    unit = " %" if scale == "percent" else ""
    return f"hate up to {said}{unit}" if is_turned else f"hate from {said}{unit} on"
