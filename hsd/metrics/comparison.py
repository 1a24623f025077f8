"""Two runs on the same posts: what changed, for whom, and how sure that is.

Differences are `other - reference`. Every row is paired with itself, so runs on different posts
are refused: a difference between them would be a difference between posts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hsd.errors import EvaluationError
from hsd.metrics.bootstrap import DRAWS, SEED, Design, PredictionArrays, bca
from hsd.metrics.classification import METRIC_NAMES, Metrics, classify
from hsd.metrics.clusters import design_effect, is_clustered, sums, units
from hsd.metrics.drawn_rates import GapName
from hsd.metrics.gap_changes import gap_changes
from hsd.metrics.groups import ALL, MINIMUM_N, RATES, Rate, by_group
from hsd.metrics.intervals import LEVEL, Interval, holm, mcnemar, paired_rate, sign_flips
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction

Pair = tuple[Prediction, Prediction]


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One headline metric of both runs, with the interval of the difference.

    For accuracy and recall, which are rates of the same posts in both runs, it is that of
    `paired_rate`; for the others a paired bootstrap's.
    """

    name: str
    reference: float | None
    other: float | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """Other minus reference; None where either is not defined."""
        if self.reference is None or self.other is None:
            return None
        return self.other - self.reference


@dataclass(frozen=True, slots=True)
class RateChange:
    """One error rate of one group in both runs, over the same `n` posts.

    `broken` posts were right and are wrong, `fixed` ones the other way round. Rates, interval and
    p-values are None, never 0, with fewer than MINIMUM_N posts. `p_value` is the exact McNemar
    test's, with posts that share a unit turned together; `holm_p` is that when all groups and both
    rates were looked at, None for all posts. `effect` is how many posts tell as much as one.
    """

    group: str
    rate: Rate
    n: int
    wrong_before: int
    broken: int
    fixed: int
    p_value: float | None = None
    holm_p: float | None = None
    effect: float = 1.0

    @property
    def is_estimable(self) -> bool:
        """Whether there are posts enough for a rate."""
        return self.n >= MINIMUM_N

    @property
    def reference(self) -> float | None:
        """The rate in the reference run."""
        return self.wrong_before / self.n if self.is_estimable else None

    @property
    def other(self) -> float | None:
        """The rate in the other run."""
        wrong = self.wrong_before + self.broken - self.fixed
        return wrong / self.n if self.is_estimable else None

    @property
    def difference(self) -> float | None:
        """Other minus reference. Above 0 is worse."""
        return (self.broken - self.fixed) / self.n if self.is_estimable else None

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the difference."""
        if not self.is_estimable:
            return None
        return paired_rate(*(k / self.effect for k in (self.broken, self.fixed, self.n)))

    @property
    def worse(self) -> bool:
        """Whether the rate rose, also when all the rates that were looked at are thought of."""
        p = self.p_value if self.holm_p is None else self.holm_p
        return p is not None and p < 1 - LEVEL and self.broken > self.fixed

    @property
    def may_be_worse(self) -> bool:
        """Whether the rate rose by more than chance leaves to one rate looked at by itself."""
        return not self.worse and self.interval is not None and self.interval.low > 0


@dataclass(frozen=True, slots=True)
class GapChange:
    """A largest difference between groups in both runs, with a paired bootstrap's interval."""

    name: GapName
    reference: float | None
    other: float | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """Other minus reference; None where not estimable. Above 0 groups lie further apart."""
        if self.reference is None or self.other is None:
            return None
        return self.other - self.reference

    @property
    def grew(self) -> bool:
        """Whether groups lie further apart by more than the interval leaves to chance."""
        return self.interval is not None and self.interval.low > 0


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
        _p_value(pairs),
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


def paired(
    reference: Sequence[Prediction], other: Sequence[Prediction], names: tuple[str, str]
) -> list[Pair]:
    """Return the rows of both runs side by side, ordered by id; refuse rows that differ."""
    before, after = _by_id(reference, names[0]), _by_id(other, names[1])
    if before.keys() != after.keys():
        raise EvaluationError(
            f"{names[0]} and {names[1]} hold different posts: "
            f"{_missing(before.keys() - after.keys(), names[0])}; "
            f"{_missing(after.keys() - before.keys(), names[1])}. "
            "Evaluate both on the same data_file, max_samples and seed."
        )
    pairs = [(before[id_], after[id_]) for id_ in sorted(before)]
    changed = [a.id for a, b in pairs if _facts(a) != _facts(b)]
    if changed:
        raise EvaluationError(
            f"{len(changed)} of {len(pairs)} ids have another text, true label, group or cluster "
            f"in {names[1]} than in {names[0]} (first: {_first(changed)}). Evaluate both on the "
            "same data_file."
        )
    if not pairs:
        raise EvaluationError(f"{names[0]} and {names[1]} hold no predictions.")
    return pairs


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

    found = bca(difference, Design.of(before), draws=draws, seed=seed)
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
    turns, effect = _turns(pairs), _effect(pairs)
    counts = (turns.count(-1), turns.count(1), len(turns))
    return paired_rate(*(count / effect for count in counts))


def _turns(pairs: list[Pair]) -> list[int]:
    """Return 1 for each post that was right and is wrong, -1 the other way round, 0 as it was."""
    return [a.is_right - b.is_right for a, b in pairs]


def _effect(pairs: list[Pair]) -> float:
    """Return how many posts' turns tell as much as one post's by itself."""
    return design_effect(_turns(pairs), units([a for a, _ in pairs])) if pairs else 1.0


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
    turns = _turns(about)
    return RateChange(
        group=group,
        rate=rate,
        n=len(about),
        wrong_before=sum(not a.is_right for a, _ in about),
        broken=turns.count(1),
        fixed=turns.count(-1),
        p_value=_p_value(about) if len(about) >= MINIMUM_N else None,
        effect=_effect(about),
    )


def _p_value(pairs: list[Pair]) -> float:
    """Return the exact p of as many posts turning wrong as right."""
    turns = _turns(pairs)
    before = [a for a, _ in pairs]
    if not is_clustered(before):
        return mcnemar(turns.count(1), turns.count(-1))
    return sign_flips(int(one) for one in sums(turns, units(before)).values())


def _facts(prediction: Prediction) -> tuple[object, ...]:
    """Return what two runs must agree on: the data's, not the model's."""
    p = prediction
    return p.true_label, p.text, sorted(p.groups), p.cluster


def _by_id(predictions: Sequence[Prediction], name: str) -> dict[str, Prediction]:
    rows = {p.id: p for p in predictions}
    if len(rows) < len(predictions):
        raise EvaluationError(
            f"{name}: {len(predictions) - len(rows)} rows repeat an id; each post counts once."
        )
    return rows


def _missing(ids: set[str], name: str) -> str:
    return f"{len(ids)} ids only in {name}" + (f" (first: {_first(ids)})" if ids else "")


def _first(ids: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(ids)[:3])
