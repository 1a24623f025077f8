"""Scores of other programs as P(hate), only as a person says; and what contradicts the labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsd.config.import_config import ImportConfig, Scale
from hsd.counted import counted
from hsd.data.given_predictions import GivenPrediction
from hsd.data.match_predictions import first
from hsd.data.score_scales import probability
from hsd.errors import ConfigError, DataError
from hsd.example import Label
from hsd.prediction import label_of

_RANGES: dict[Scale, tuple[float, float]] = {"probability": (0.0, 1.0), "percent": (0.0, 100.0)}
_OTHERWISE = (
    "say what the scores are with --scores: percent (0 to 100), logit (log-odds), or rank for any "
    "other number"
)


_LEAST = 0.499
"""P of the likelier of two labels, if it was rounded."""


@dataclass(frozen=True, slots=True)
class Called:
    """A prediction with its label and P(hate); a rank is brought into [0, 1] in its order."""

    given: GivenPrediction
    label: Label | None
    score: float | None


def require_possible(config: ImportConfig) -> None:
    """Raise ConfigError for options that contradict each other."""
    if config.cut is not None and config.label_column is not None:
        raise ConfigError(
            "cut: labels come from --label-column, or from the scores with --cut; give one."
        )
    if config.cut is not None and config.score_of != "hate":
        raise ConfigError(
            f"cut: the scores are of {config.score_of} (--score-of), and a cut is for scores of "
            "hate; leave one of them out."
        )


def called(
    rows: Sequence[GivenPrediction], config: ImportConfig, *, labelled: bool
) -> list[Called]:
    """Return each prediction with P(hate); `labelled` says that the labels are the file's own.

    Raises DataError for scores outside of their scale, or that P(hate) does not tell apart, and
    ConfigError where a label or a cut is needed and there is none.
    """
    _require_scale(rows, config)
    if config.score_of == "label" and not labelled:
        raise ConfigError("score_of: scores of the label need a column of labels: --label-column.")
    if config.score_of == "label":
        _require_likelier(rows, config)
    if config.scores == "rank" and not labelled and config.cut is None:
        raise ConfigError(
            "scores: a rank does not say which posts are hate; give --cut, the score from which on "
            "a post is called hate, or --label-column."
        )
    _require_scores_to_cut(rows, config)
    places = _places(rows) if are_places(rows, config) else {}
    if not places:
        _require_apart(rows, config)
    return [_called(row, config, places, labelled=labelled) for row in rows]


def are_places(rows: Sequence[GivenPrediction], config: ImportConfig) -> bool:
    """Whether ranks are so far from the cut that only their places keep them apart."""
    return config.scores == "rank" and _lost(rows, config) > 0


def _called(
    row: GivenPrediction, config: ImportConfig, places: Mapping[float, float], *, labelled: bool
) -> Called:
    if labelled and row.label is None:
        return Called(row, None, None)
    if row.score is None:
        return Called(row, row.label, None)
    score = _of_hate(row.score, config, places, turned=_is_turned(row, config))
    if labelled:
        return Called(row, row.label, score)
    if config.cut is None:
        return Called(row, label_of(score), score)
    return Called(row, "hate" if row.score >= config.cut else "normal", score)


def _is_turned(row: GivenPrediction, config: ImportConfig) -> bool:
    """Whether a score is of normal."""
    return config.score_of == "normal" or (config.score_of == "label" and row.label == "normal")


def _of_hate(
    score: float, config: ImportConfig, places: Mapping[float, float], *, turned: bool
) -> float:
    found = places[score] if places else _probability(score, config)
    return 1 - found if turned else found


def _places(rows: Sequence[GivenPrediction]) -> dict[float, float]:
    """Return the place of each score among the different ones, above 0 and below 1."""
    different = sorted({row.score for row in rows if row.score is not None})
    return {score: at / (len(different) + 1) for at, score in enumerate(different, 1)}


def _different(rows: Sequence[GivenPrediction], config: ImportConfig) -> set[tuple[float, bool]]:
    return {(row.score, _is_turned(row, config)) for row in rows if row.score is not None}


def _lost(rows: Sequence[GivenPrediction], config: ImportConfig) -> int:
    """Return how many scores floating point would make equal to another one as P(hate)."""
    different = _different(rows, config)
    kept = {(_of_hate(score, config, {}, turned=turned), turned) for score, turned in different}
    return len(different) - len(kept)


def _require_apart(rows: Sequence[GivenPrediction], config: ImportConfig) -> None:
    if lost := _lost(rows, config):
        raise DataError(
            f"{config.predictions}: {lost:,} of {len(_different(rows, config)):,} different scores "
            "would become equal to another one as P(hate), and AUROC would be wrong. Add --scores "
            "rank to keep their order, with --cut or a column of labels."
        )


def _require_scores_to_cut(rows: Sequence[GivenPrediction], config: ImportConfig) -> None:
    """Raise ConfigError for a cut where labels are not from scores: of lm-eval's replies."""
    without = sum(row.score is None and (bool(row.label) or row.reply is not None) for row in rows)
    if config.cut is not None and without:
        raise ConfigError(
            f"cut: {counted(without, 'prediction has', 'predictions have')} no P(hate) to cut at, "
            "only a label or a reply; leave --cut out."
        )


def _probability(score: float, config: ImportConfig) -> float:
    return probability(score, config.scores, config.cut)


def _require_scale(rows: Sequence[GivenPrediction], config: ImportConfig) -> None:
    low, high = _RANGES.get(config.scores, (-math.inf, math.inf))
    scores = [row.score for row in rows if row.score is not None]
    outside = [score for score in scores if not low <= score <= high]
    if outside:
        raise DataError(
            f"{config.predictions}: {len(outside):,} of {len(scores):,} scores lie outside of "
            f"{low:g} to {high:g} (they go from {min(scores):g} to {max(scores):g}); {_OTHERWISE}."
        )


def contradictions(rows: Sequence[Called], config: ImportConfig) -> list[str]:
    """Return what labels and scores say of each other, where both are the file's own.

    Raises DataError where the scores are plainly of something else than hate.
    """
    pairs = [(one, one.label, one.score) for one in rows if one.label and one.score is not None]
    hate = [score for _, label, score in pairs if label == "hate"]
    normal = [score for _, label, score in pairs if label == "normal"]
    if not hate or not normal:
        return []
    _require_direction(hate, normal, config)
    if config.scores == "rank":
        return _of_cut(hate, normal, pairs=len(pairs), middle=None)
    wrong = [one for one, label, score in pairs if label_of(score) != label]
    if not wrong:
        return []
    said = _of_cut(hate, normal, pairs=len(pairs), middle=0.5)
    ids = first(one.given.id or one.given.place for one in wrong)
    return [
        f"{counted(len(wrong), 'label contradicts its score', 'labels contradict their scores')} "
        f"at 0.5 ({ids}). The labels count; AUROC and calibration use the scores.",
        *said,
    ]


def _require_direction(
    hate: Sequence[float], normal: Sequence[float], config: ImportConfig
) -> None:
    place = config.predictions
    is_plain = config.scores != "rank" and "score_of" not in config.model_fields_set
    if max(hate) < min(normal):
        turn = "leave out" if config.score_of == "normal" else "add"
        raise DataError(
            f"{place}: every post that is called hate has a lower score than every post that is "
            f"called normal, so the scores run the other way: {turn} --score-of normal."
        )
    if is_plain and min(normal) >= 0.5:
        raise DataError(
            f"{place}: every post that is called normal has a score of 0.5 or more"
            f"{_seemingly(hate)}; or --score-of hate, if they are of hate."
        )


def _seemingly(hate: Sequence[float]) -> str:
    """Return what the scores are of where no post that is called normal has a low one."""
    if min(hate) >= _LEAST:
        return (
            ", so the scores seem to be of the predicted label, as transformers' pipelines give "
            "them. Add --score-of label"
        )
    low = sum(score < _LEAST for score in hate)
    return (
        f", and {low:,} of {len(hate):,} posts that are called hate a lower one, so the scores "
        "seem to be of normal. Add --score-of normal"
    )


def _require_likelier(rows: Sequence[GivenPrediction], config: ImportConfig) -> None:
    """Raise DataError for a score of the predicted label that no likelier label has."""
    if config.scores == "rank":
        return
    scored = [(row.label, row.score) for row in rows if row.label and row.score is not None]
    low = [label for label, score in scored if _probability(score, config) < _LEAST]
    if low:
        is_turned = len({label for label, _ in scored}) > 1 and len(set(low)) == 1
        of = "normal" if low[0] == "hate" else "hate"
        advice = f"--score-of {of}" if is_turned else "--score-of hate or --score-of normal"
        raise DataError(
            f"{config.predictions}: {len(low):,} of {len(scored):,} scores are of less than 0.5, "
            "which the predicted one of two labels never has, so these are no scores of the "
            f"predicted label; {advice} says what they are of."
        )


def _of_cut(
    hate: Sequence[float], normal: Sequence[float], *, pairs: int, middle: float | None
) -> list[str]:
    """Return the score that parts the labels, where one does."""
    low, high = max(normal), min(hate)
    if low < high:
        if middle is None:
            return []
        return [f"The labels follow the scores at a cut between {low:.4g} and {high:.4g}."]
    over = sum(score <= low for score in hate) + sum(score >= high for score in normal)
    return [f"No cut of the scores gives these labels: {over:,} of {pairs:,} scores overlap."]
