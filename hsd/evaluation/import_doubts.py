"""What makes imported scores look like something else than what a person said they are."""

from collections.abc import Sequence
from math import sqrt

from hsd.config.import_config import ImportConfig
from hsd.metrics.classification import classify
from hsd.prediction import Prediction

_LOW = 0.4
"""An AUROC below it is worse than chance by more than a poor detector is."""
_SURE = 1.96
"""Standard errors to .5 at 95 %."""


def scale_doubts(scores: Sequence[float], config: ImportConfig) -> list[str]:
    """Return a note for a scale or a cut that the file's own scores do not fit."""
    if not scores:
        return []
    said = []
    if config.scores == "percent" and max(scores) <= 1:
        said.append("Every score is at most 1: are they percent? Otherwise omit --scores percent.")
    if config.cut is not None and max(scores) < config.cut:
        said.append(
            f"No score reaches the cut of {config.cut:g}, so no post is called hate: the highest "
            f"is {max(scores):g}."
        )
    if config.cut is not None and min(scores) >= config.cut:
        said.append(
            f"Every score reaches the cut of {config.cut:g}, so every post is called hate: the "
            f"lowest is {min(scores):g}."
        )
    return said


def direction_doubts(predictions: Sequence[Prediction], config: ImportConfig) -> list[str]:
    """Return a note where the scores are higher for normal posts than for hateful ones."""
    area = classify(predictions).auroc
    hate = sum(p.true_label == "hate" for p in predictions)
    if area is None or area >= _LOW or not _is_below_chance(area, hate, len(predictions) - hate):
        return []
    turn = "leave out" if config.score_of == "normal" else "try"
    shown = f"{area:.2f}".removeprefix("0")
    return [f"AUROC is {shown}: do the scores run the other way? If so, {turn} --score-of normal."]


def _is_below_chance(area: float, hate: int, normal: int) -> bool:
    """Whether chance alone seldom gives so small an area (Mann and Whitney 1947, without ties)."""
    return (0.5 - area) / sqrt((hate + normal + 1) / (12 * hate * normal)) > _SURE
