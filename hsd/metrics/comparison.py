"""Two runs on the same posts: what changed, for whom, and how sure that is.

Differences are `other - reference`, over the rows that hsd.metrics.pairs puts side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hsd.metrics.bootstrap import DRAWS, SEED, Design, PredictionArrays, bca, metric_draws
from hsd.metrics.changes import GapChange, MetricChange, RateChange
from hsd.metrics.classification import METRIC_NAMES, Metrics, classify
from hsd.metrics.gap_changes import gap_changes
from hsd.metrics.groups import ALL, MINIMUM_N, RATES, Rate, by_group
from hsd.metrics.intervals import Interval, holm, paired_rate
from hsd.metrics.pairs import Pair, effect_of, paired, turn_p_value, turns_of
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the reference run to the other one."""

    reference: str
    other: str
    reference_metrics: Metrics
    other_metrics: Metrics
    metrics: tuple[MetricChange, ...]
    rates: tuple[RateChange, ...]
    gaps: tuple[GapChange, ...]
    p_value: float
    """Of the difference in accuracy: exact McNemar, posts that share a unit turned together."""
    broken: tuple[str, ...]
    fixed: tuple[str, ...]

    @property
    def n(self) -> int:
        """Posts that both runs answered."""
        return self.reference_metrics.counts.n

    @property
    def worse(self) -> tuple[RateChange, ...]:
        """Rates of groups that rose, whatever the headline did."""
        return tuple(change for change in self.rates if change.worse)

    @property
    def may_be_worse(self) -> tuple[RateChange, ...]:
        """Rates that rose, but no more than one of so many would by chance."""
        return tuple(change for change in self.rates if change.may_be_worse)


def compare(
    reference: Sequence[Prediction],
    other: Sequence[Prediction],
    names: tuple[str, str] = ("reference", "other"),
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Comparison:
    """Return what changed between two runs on the same posts.

    Raises EvaluationError, saying how many ids differ and which come first, unless both runs hold
    the same ids with the same texts and true labels.
    """
    pairs = paired(reference, other, names)
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    return Comparison(
        *names,
        classify(before),
        classify(after),
        _metric_changes(pairs, draws, seed),
        _rate_changes(pairs),
        _gap_changes(before, after, draws, seed),
        turn_p_value(pairs),
        tuple(a.id for a, b in pairs if a.is_right and not b.is_right),
        tuple(a.id for a, b in pairs if b.is_right and not a.is_right),
    )


def metric_changes(
    reference: Sequence[Prediction], other: Sequence[Prediction], names: tuple[str, str]
) -> tuple[MetricChange, ...]:
    """Return the headline alone of what `compare` returns; raises as it does."""
    return _metric_changes(paired(reference, other, names), DRAWS, SEED)


def compare_all(
    runs: Mapping[str, Sequence[Prediction]], *, draws: int = DRAWS, seed: int = SEED
) -> list[Comparison]:
    """Return each later run against the first one."""
    (reference, rows), *others = runs.items()
    return [
        compare(rows, other, (reference, name), draws=draws, seed=seed) for name, other in others
    ]


def _metric_changes(pairs: list[Pair], draws: int, seed: int) -> tuple[MetricChange, ...]:
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    first, second = classify(before), classify(after)
    intervals = _difference_intervals(before, after, draws, seed) | _gains(pairs)
    return tuple(
        MetricChange(name, getattr(first, name), getattr(second, name), intervals[name])
        for name in METRIC_NAMES
    )


def _difference_intervals(
    before: list[Prediction], after: list[Prediction], draws: int, seed: int
) -> dict[str, Interval | None]:
    first, second = PredictionArrays.of(before), PredictionArrays.of(after)

    def difference(weights: Floats) -> Floats:
        return second.metrics(weights) - first.metrics(weights)

    design = Design.of(before)
    drawn = [metric_draws(run, design, draws, seed) for run in (first, second)]
    found = bca(difference, design, draws=draws, seed=seed, values=drawn[1] - drawn[0])
    return dict(zip(METRIC_NAMES, found, strict=True))


def _gap_changes(
    before: list[Prediction], after: list[Prediction], draws: int, seed: int
) -> tuple[GapChange, ...]:
    found = gap_changes(before, after, draws=draws, seed=seed)
    return tuple(GapChange(name, _known(a), _known(b), i) for name, (a, b, i) in found.items())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _gains(pairs: list[Pair]) -> dict[str, Interval | None]:
    """Return the intervals of accuracy and recall; gains, so fixed posts raise them."""
    hates = [(a, b) for a, b in pairs if a.true_label == "hate"]
    return {"accuracy": _gain(pairs), "recall": _gain(hates)}


def _gain(pairs: list[Pair]) -> Interval | None:
    turns, effect = turns_of(pairs), effect_of(pairs)
    counts = (turns.count(-1), turns.count(1), len(turns))
    return paired_rate(*(count / effect for count in counts))


def _rate_changes(pairs: list[Pair]) -> tuple[RateChange, ...]:
    """Return both rates overall and per group; Holm's family is the estimable ones of groups."""
    groups = by_group([a for a, _ in pairs])
    overall = [_rate_change(pairs, ALL, rate) for rate in RATES]
    each = [_rate_change(pairs, group, rate) for group in groups for rate in RATES]
    adjusted = iter(holm([p for change in each if (p := change.p_value) is not None]))
    tested = [c if c.p_value is None else replace(c, holm_p=next(adjusted)) for c in each]
    return (*overall, *tested)


def _rate_change(pairs: list[Pair], group: str, rate: Rate) -> RateChange:
    label = "normal" if rate == "false_positive_rate" else "hate"
    about = [
        (a, b) for a, b in pairs if a.true_label == label and (group == ALL or group in a.about)
    ]
    turns = turns_of(about)
    return RateChange(
        group=group,
        rate=rate,
        n=len(about),
        wrong_before=sum(not a.is_right for a, _ in about),
        broken=turns.count(1),
        fixed=turns.count(-1),
        p_value=turn_p_value(about) if len(about) >= MINIMUM_N else None,
        effect=effect_of(about),
    )
