"""Everything one set of predictions says, as numbers; the reports only lay them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsd.errors import EvaluationError
from hsd.metrics.baselines import Baseline, Training, baselines
from hsd.metrics.bias import Bias, bias_areas
from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.classification import POLICIES, Metrics, Policy, classify
from hsd.metrics.gaps import Gaps, gaps
from hsd.metrics.groups import Group, by_group, by_persona
from hsd.metrics.intervals import Interval, wilson
from hsd.metrics.outcomes import Outcomes, outcomes
from hsd.metrics.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The numbers of one evaluation; `headline` is `policies["error"]`."""

    strategy: str
    policies: Mapping[Policy, Metrics]
    intervals: Mapping[str, Interval | None]
    baselines: tuple[Baseline, ...]
    outcomes: Outcomes
    groups: dict[str, Group]
    personas: dict[str, Group]
    gaps: Gaps
    bias: Bias | None
    truncated_posts: int
    mean_response_time: float

    @property
    def headline(self) -> Metrics:
        """The metrics that count every unreadable reply as wrong."""
        return self.policies["error"]


def summarize(predictions: Sequence[Prediction], training: Training | None = None) -> Evaluation:
    """Return the numbers of one evaluation. Raises EvaluationError when there is no one strategy.

    `training` is what the judged model was trained on, for the baselines, where it is known. The
    order of the rows changes nothing.
    """
    rows = sorted(predictions, key=lambda p: p.id)
    strategy = _strategy(rows)
    return Evaluation(
        strategy=strategy,
        policies={policy: classify(rows, policy) for policy in POLICIES},
        intervals=headline_intervals(rows),
        baselines=tuple(baselines(rows, training)),
        outcomes=outcomes(rows),
        groups=by_group(rows),
        personas=by_persona(rows),
        gaps=gaps(rows),
        bias=bias_areas(rows),
        truncated_posts=sum(p.truncated_post for p in rows),
        mean_response_time=sum(p.response_time for p in rows) / len(rows),
    )


def headline_intervals(predictions: Sequence[Prediction]) -> dict[str, Interval | None]:
    """Return Wilson's interval for each metric that is a rate, the bootstrap's for the others."""
    counts = classify(predictions).counts
    rates = {
        "accuracy": wilson(counts.tp + counts.tn, counts.n),
        "precision": wilson(counts.tp, counts.tp + counts.fp),
        "recall": wilson(counts.tp, counts.hates),
    }
    return {**metric_intervals(predictions), **rates}


def _strategy(predictions: Sequence[Prediction]) -> str:
    strategies = sorted({p.strategy for p in predictions})
    if len(strategies) != 1:
        found = ", ".join(strategies) or "no predictions at all"
        raise EvaluationError(f"an evaluation is of one strategy; these rows hold: {found}.")
    return strategies[0]
