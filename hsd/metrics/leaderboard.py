"""Several runs on the same posts, ranked, with intervals that hold for all of them at once.

The best of twenty runs looks better than it is. Simultaneous intervals (max-t over a paired
bootstrap; Romano and Wolf, 2005) are wide enough for all rows of the table together. Which run is
best is chosen by the same posts, so that a run is called behind it only by intervals that hold for
the differences of all pairs at once, as Tukey's do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsd.config.gate_rules import GateRules
from hsd.errors import EvaluationError
from hsd.metrics.bootstrap import DRAWS, SEED, Design, PredictionArrays, drawn
from hsd.metrics.classification import METRIC_NAMES, Metrics, classify
from hsd.metrics.gaps import Gaps, gaps
from hsd.metrics.gate import Verdict, gate
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.outcomes import Outcomes, outcomes
from hsd.metrics.pairs import paired
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction

STILL = 1e-9
"""A standard error below this is rounding: every draw gave the same."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A named evaluation, or a named failure with its reason: a cell that died is a row too."""

    name: str
    predictions: Sequence[Prediction] | None = None
    failure: str = ""

    def __post_init__(self) -> None:
        """Refuse an entry that is both or neither."""
        if (self.predictions is None) == (not self.failure):
            raise EvaluationError(f"{self.name}: an entry is an evaluation or a failure.")


@dataclass(frozen=True, slots=True)
class Standing:
    """A run's place: its metrics, simultaneous interval, groups and gate.

    `from_best` is the simultaneous interval of its difference to the best run; None for that run.
    """

    name: str
    metrics: Metrics
    interval: Interval | None
    from_best: Interval | None
    gaps: Gaps
    outcomes: Outcomes
    verdict: Verdict | None

    @property
    def is_apart(self) -> bool:
        """Whether the best run is better by more than chance leaves, all runs looked at."""
        return self.from_best is not None and self.from_best.high < 0


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Runs from best to worst by `metric`, then failures in the order given."""

    metric: str
    n: int
    standings: tuple[Standing, ...]
    failures: tuple[Entry, ...]


def leaderboard(
    entries: Sequence[Entry],
    metric: str = "f1",
    *,
    reference: str | None = None,
    rules: GateRules | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Leaderboard:
    """Rank runs on the same posts; with `rules` each run but the reference is judged by the gate.

    A reference that has failed leaves rules about a rise undecided. Raises EvaluationError for an
    unknown metric, a name given twice, an unknown reference, and runs on different posts.
    """
    runs = {e.name: _ordered(e.predictions) for e in entries if e.predictions is not None}
    _require(entries, metric, reference)
    failures = tuple(entry for entry in entries if entry.failure)
    if not runs:
        return Leaderboard(metric, 0, (), failures)
    first, *others = runs
    for other in others:
        paired(runs[first], runs[other], (first, other))
    found = {name: classify(rows) for name, rows in runs.items()}
    order = sorted(runs, key=lambda name: _key(getattr(found[name], metric)))
    own, behind = _simultaneous([runs[name] for name in order], metric, draws, seed)
    standings = [
        Standing(
            name,
            found[name],
            own[place],
            behind[place],
            gaps(runs[name], draws=draws, seed=seed),
            outcomes(runs[name]),
            _verdict(runs, name, reference, rules),
        )
        for place, name in enumerate(order)
    ]
    return Leaderboard(metric, len(runs[first]), tuple(standings), failures)


def max_t(point: Floats, values: Floats) -> list[Interval | None]:
    """Return simultaneous intervals of several statistics from their joint draws (draws, k)."""
    largest, errors = _largest_t(point, values)
    if not np.isfinite(errors).any():
        return [None] * len(point)
    wide = float(np.quantile(largest, LEVEL))
    return [
        Interval(float(p - wide * e), float(p + wide * e)) if np.isfinite(e) else None
        for p, e in zip(point, errors, strict=True)
    ]


def _largest_t(point: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return each draw's largest distance in standard errors (draws,), and those errors (k,).

    An error is NaN, and no distance is measured by it, where draws have no value or all the same.
    """
    known = np.isfinite(values).all(axis=0) & np.isfinite(point)
    errors = np.where(known, values.std(axis=0, ddof=1), np.nan)
    errors = np.where(errors > STILL, errors, np.nan)
    with np.errstate(invalid="ignore"):
        distances = np.abs(values - point) / errors
    return np.nan_to_num(distances, nan=0.0).max(axis=1, initial=0.0), errors


def from_best(point: Floats, values: Floats) -> list[Interval | None]:
    """Return intervals of each run's difference to the first, whichever of them is the first.

    `point` (k,) and the joint draws `values` (draws, k); the first run has None.
    """
    largest = np.zeros(len(values))
    for one in range(len(point) - 1):
        rest = slice(one + 1, None)
        found, _ = _largest_t(point[rest] - point[one], values[:, rest] - values[:, one : one + 1])
        largest = np.maximum(largest, found)
    wide = float(np.quantile(largest, LEVEL))
    differences, draws = point[1:] - point[0], values[:, 1:] - values[:, :1]
    _, errors = _largest_t(differences, draws)
    return [
        None,
        *(
            Interval(float(d - wide * e), float(d + wide * e)) if np.isfinite(e) else None
            for d, e in zip(differences, errors, strict=True)
        ),
    ]


def _simultaneous(
    runs: list[list[Prediction]], metric: str, draws: int, seed: int
) -> tuple[list[Interval | None], list[Interval | None]]:
    """Return the intervals of all runs, best first, and of their differences to the first."""
    column = METRIC_NAMES.index(metric)
    tables = [PredictionArrays.of(rows) for rows in runs]

    def statistic(weights: Floats) -> Floats:
        return np.stack([table.metrics(weights)[:, column] for table in tables], axis=1)

    point = statistic(np.ones((1, len(runs[0]))))[0]
    values = drawn(statistic, Design.of(runs[0]), draws, seed)
    return [_share(one) for one in max_t(point, values)], from_best(point, values)


def _share(interval: Interval | None) -> Interval | None:
    """Return the interval within 0 and 1, as every metric here is; the ends of max-t are not."""
    if interval is None:
        return None
    return Interval(max(interval.low, 0.0), min(interval.high, 1.0))


def _verdict(
    runs: dict[str, list[Prediction]], name: str, reference: str | None, rules: GateRules | None
) -> Verdict | None:
    if rules is None or name == reference:
        return None
    before = None if reference is None else runs.get(reference)
    return gate(rules, runs[name], before, (reference, name))


def _require(entries: Sequence[Entry], metric: str, reference: str | None) -> None:
    if metric not in METRIC_NAMES:
        raise EvaluationError(f"unknown metric '{metric}'; known: {', '.join(METRIC_NAMES)}.")
    names = {entry.name for entry in entries}
    if len(names) < len(entries):
        raise EvaluationError("two runs have one name; a leaderboard needs each name once.")
    if reference is not None and reference not in names:
        raise EvaluationError(f"the reference '{reference}' is none of the runs.")


def _ordered(predictions: Sequence[Prediction]) -> list[Prediction]:
    return sorted(predictions, key=lambda p: p.id)


def _key(value: float | None) -> float:
    return 1.0 if value is None else -value
