"""Everything one set of predictions says, as numbers; the reports only lay them out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hsd.errors import EvaluationError
from hsd.metrics.baselines import Baseline, Training, baselines
from hsd.metrics.bias import Bias, bias_areas
from hsd.metrics.calibration import Calibration, calibration, calibration_by_group
from hsd.metrics.classification import (
    POLICIES,
    ConfusionMatrix,
    Metrics,
    Policy,
    calls,
    classify,
    counted,
)
from hsd.metrics.comparison import Comparison, compare
from hsd.metrics.contrast import (
    Contrasts,
    Functionality,
    Swap,
    contrasts,
    functionalities,
    swap_results,
)
from hsd.metrics.gaps import Gaps, gaps
from hsd.metrics.groups import Group, by_group, by_persona
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import Interval
from hsd.metrics.operating_point import Operated, OperatingPoint, operate
from hsd.metrics.outcomes import Outcomes, outcomes, unreadable_p
from hsd.metrics.score_noise import Near, Noise, near
from hsd.metrics.seen_in_training import among
from hsd.metrics.share_calibration import ShareCalibration, share_calibration
from hsd.metrics.slices import Slice, slices
from hsd.metrics.thresholds import PREVALENCES, AtPrevalence, Curve, at_prevalence, curves
from hsd.prediction import Prediction

SHOWN_ERRORS = 5
"""Confident errors listed for each group."""


@dataclass(frozen=True, slots=True)
class BaseComparison:
    """The untouched base on the same posts, and what changed from it to the judged model.

    `turned` are the judged model's rows that became right or wrong, ordered by id.
    """

    name: str
    metrics: Metrics
    intervals: Mapping[str, Interval | None]
    comparison: Comparison
    turned: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The numbers of one evaluation; `headline` is `policies["error"]`.

    `seen_in_training` counts the posts that the model was trained on; None where those are unknown.
    `noise` is how far scores move, and `near` whose calls that may turn: at .5, and at the frozen
    threshold where there is one.
    """

    strategy: str
    policies: Mapping[Policy, Metrics]
    intervals: Mapping[str, Interval | None]
    baselines: tuple[Baseline, ...]
    base: BaseComparison | None
    outcomes: Outcomes
    unreadable_by_group_p: float | None
    groups: dict[str, Group]
    group_policies: Mapping[Policy, Mapping[str, ConfusionMatrix]]
    personas: dict[str, Group]
    gaps: Gaps
    bias: Bias | None
    calibration: Calibration | None
    group_calibration: dict[str, Calibration]
    share_calibration: ShareCalibration | None
    curves: dict[str, Curve]
    prevalences: tuple[AtPrevalence, ...]
    slices: tuple[Slice, ...]
    functionalities: tuple[Functionality, ...]
    contrasts: tuple[Contrasts, ...]
    swaps: tuple[Swap, ...]
    confident_errors: dict[str, tuple[Prediction, ...]]
    operated: Operated | None
    truncated_posts: int | None
    seen_in_training: int | None
    mean_response_time: float | None
    unscored: int = 0
    """Posts without a score: with one of them nothing that needs scores is reported."""
    noise: Noise | None = None
    near: tuple[Near, ...] = ()

    @property
    def headline(self) -> Metrics:
        """The metrics that count every unreadable reply as wrong."""
        return self.policies["error"]


def summarize(
    predictions: Sequence[Prediction],
    training: Training | None = None,
    point: OperatingPoint | None = None,
    base: tuple[str, Sequence[Prediction]] | None = None,
    prevalences: Sequence[float] = PREVALENCES,
    made: Mapping[str, Sequence[Prediction]] | None = None,
    noise: Noise | None = None,
    *,
    ranks: bool = False,
) -> Evaluation:
    """Return the numbers of one evaluation. Raises EvaluationError when there is no one strategy.

    `training` is what the judged model was trained on, for the baselines and to count posts it has
    seen, where it is known; `point` a threshold that was chosen on other rows; `base` the name and
    rows of the base's own evaluation; `prevalences` the shares of hate to say precision at; `made`
    baselines that were had before, by name; `noise` how far the scores move; `ranks` says that
    scores are no probabilities, so that nothing is said of calibration. The order of the rows
    changes nothing.
    """
    rows = sorted(predictions, key=lambda p: p.id)
    strategy, groups = _strategy(rows), by_group(rows)
    thresholds = (0.5, point.threshold) if point else (0.5,)
    loads = (at_prevalence(rows, prevalence) for prevalence in prevalences)
    truncated, seconds = _sum(p.truncated_post for p in rows), _sum(p.response_time for p in rows)
    return Evaluation(
        strategy=strategy,
        policies={policy: classify(rows, policy) for policy in POLICIES},
        intervals=headline_intervals(rows),
        baselines=tuple(baselines(rows, training, made)),
        base=_base(*base, rows) if base else None,
        outcomes=outcomes(rows),
        unreadable_by_group_p=unreadable_p(rows),
        groups=groups,
        group_policies={policy: _by_policy(rows, groups, policy) for policy in POLICIES},
        personas=by_persona(rows),
        gaps=gaps(rows),
        bias=bias_areas(rows),
        calibration=None if ranks else calibration(rows),
        group_calibration={} if ranks else calibration_by_group(rows),
        share_calibration=None if ranks else share_calibration(rows),
        curves=curves(rows),
        prevalences=tuple(load for load in loads if load is not None),
        slices=tuple(slices(rows)),
        functionalities=tuple(functionalities(rows)),
        contrasts=tuple(contrasts(rows)),
        swaps=tuple(swap_results(rows)),
        confident_errors=confident_errors(rows),
        operated=_operated(rows, point, prevalences, ranks=ranks) if point else None,
        truncated_posts=None if truncated is None else int(truncated),
        seen_in_training=len(among(rows, training.texts)) if training else None,
        mean_response_time=None if seconds is None else seconds / len(rows),
        unscored=sum(p.score is None for p in rows),
        noise=noise,
        near=tuple(near(rows, noise, threshold) for threshold in thresholds) if noise else (),
    )


def _operated(
    rows: Sequence[Prediction], point: OperatingPoint, prevalences: Sequence[float], *, ranks: bool
) -> Operated:
    found = operate(rows, point, prevalences)
    return replace(found, calibration=None) if ranks else found


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum; None where a value is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def _by_policy(
    rows: Sequence[Prediction], groups: Collection[str], policy: Policy
) -> dict[str, ConfusionMatrix]:
    """Return each group's confusion matrix when unreadable replies are read by a policy."""
    read = list(zip(rows, calls(rows, policy), strict=True))
    found = {}
    for name in groups:
        kept = [(p, c) for p, c in read if c is not None and name in p.about]
        found[name] = counted([p.true_label for p, _ in kept], [c for _, c in kept])
    return found


def confident_errors(predictions: Sequence[Prediction]) -> dict[str, tuple[Prediction, ...]]:
    """Return each group's wrong calls with the surest scores first, those without one by id."""
    wrong = [p for p in predictions if p.label not in (None, p.true_label)]
    wrong.sort(key=lambda p: (0.0 if p.score is None else -abs(p.score - 0.5), p.id))
    names = by_group(wrong)
    members = {name: [p for p in wrong if name in p.about] for name in names}
    return {name: tuple(rows[:SHOWN_ERRORS]) for name, rows in members.items()}


def _base(name: str, base: Sequence[Prediction], rows: Sequence[Prediction]) -> BaseComparison:
    compared = compare(base, rows, (name, "this model"))
    moved = {*compared.broken, *compared.fixed}
    turned = tuple(p for p in rows if p.id in moved)
    return BaseComparison(name, classify(base), headline_intervals(base), compared, turned)


def _strategy(predictions: Sequence[Prediction]) -> str:
    strategies = sorted({p.strategy for p in predictions})
    if len(strategies) != 1:
        found = ", ".join(strategies) or "no predictions at all"
        raise EvaluationError(f"an evaluation is of one strategy; these rows hold: {found}.")
    return strategies[0]
