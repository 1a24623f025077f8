"""A threshold and temperature chosen on validation rows, frozen, and what they give on others."""

from collections.abc import Sequence
from dataclasses import dataclass

from hsd.counted import counted
from hsd.errors import EvaluationError
from hsd.io.hashes import sha256_json
from hsd.metrics.baselines import Training
from hsd.metrics.calibration import Calibration, at_temperature, calibration, fit_temperature
from hsd.metrics.classification import Metrics, classify
from hsd.metrics.gaps import Gaps, gaps
from hsd.metrics.groups import Group, by_group
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import Interval
from hsd.metrics.seen_in_training import among
from hsd.metrics.thresholds import (
    PREVALENCES,
    AtPrevalence,
    Choice,
    Rule,
    apply_threshold,
    at_prevalence,
    choose_threshold,
)
from hsd.prediction import Prediction


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What was chosen, by which rule, and on which rows: `rows_sha256` is of their ids and texts.

    The threshold is on the score as the model gives it; the temperature moves no rank.
    """

    threshold: float
    temperature: float
    rule: str
    chosen_on: str
    rows: int
    rows_sha256: str
    choice: Choice
    own_scale: str | None = None
    """The threshold in the scale of imported scores, such as `hate from 27.76 % on`."""


@dataclass(frozen=True, slots=True)
class Operated:
    """The posts as they are called at an operating point."""

    point: OperatingPoint
    metrics: Metrics
    intervals: dict[str, Interval | None]
    groups: dict[str, Group]
    gaps: Gaps
    calibration: Calibration | None
    prevalences: tuple[AtPrevalence, ...]


def operating_point(
    validation: Sequence[Prediction], rule: Rule, chosen_on: str, *, ranks: bool = False
) -> OperatingPoint:
    """Return what `rule` picks on validation rows. Raises EvaluationError as `choose`.

    Scores that are `ranks` keep the temperature 1: they are no probabilities to calibrate.
    """
    choice = choose_threshold(validation, rule)
    digest = rows_digest(validation)
    temperature = 1.0 if ranks else fit_temperature(validation)
    return OperatingPoint(
        choice.threshold, temperature, str(rule), chosen_on, len(validation), digest, choice
    )


def rows_digest(predictions: Sequence[Prediction]) -> str:
    """Return what tells one set of posts from another, whatever was said of them."""
    return sha256_json(sorted([p.id, p.text] for p in predictions))


def require_apart(validation: Sequence[Prediction], judged: Sequence[Prediction]) -> None:
    """Raise EvaluationError when a post was both chosen on and judged."""
    shared = among(judged, (p.text for p in validation))
    if shared:
        raise EvaluationError(
            f"{counted(len(shared), 'post is', 'posts are')} in both runs (first: "
            f"{', '.join(shared[:3])}); a threshold is chosen on validation rows and judged on "
            "others."
        )


def require_unlearned(validation: Sequence[Prediction], training: Training) -> None:
    """Raise EvaluationError when a post to choose on was learned: its score is not a new post's."""
    shared = among(validation, training.texts)
    if shared:
        raise EvaluationError(
            f"{len(shared)} of {len(validation)} validation posts are training posts of the judged "
            f"adapter ({training.origin}; first: {', '.join(shared[:3])}); choose the threshold on "
            "an evaluation of rows it did not learn from."
        )


def operate(
    predictions: Sequence[Prediction],
    point: OperatingPoint,
    prevalences: Sequence[float] = PREVALENCES,
) -> Operated:
    """Return the numbers at an operating point."""
    rows = apply_threshold(predictions, point.threshold)
    found = (at_prevalence(rows, prevalence) for prevalence in prevalences)
    return Operated(
        point,
        classify(rows),
        headline_intervals(rows),
        by_group(rows),
        gaps(rows),
        calibration(at_temperature(predictions, point.temperature)),
        tuple(one for one in found if one is not None),
    )
