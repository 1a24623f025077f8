"""Several runs on the same posts, ranked, with intervals that hold for all of them at once.

The best of twenty runs looks better than it is. Simultaneous intervals (max-t over a paired
bootstrap; Romano and Wolf, 2005) are wide enough for all rows of the table together, and a run is
called apart from the best only when the difference is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsd.config.gate import GateRules
from hsd.errors import EvaluationError
from hsd.metrics.areas import Floats
from hsd.metrics.bootstrap import DRAWS, SEED, Design, Table, drawn
from hsd.metrics.classification import METRIC_NAMES, Metrics, classify
from hsd.metrics.comparison import paired
from hsd.metrics.gaps import Gaps, gaps
from hsd.metrics.gate import Verdict, gate
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.outcomes import Outcomes, outcomes
from hsd.metrics.prediction import Prediction


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

    Raises EvaluationError for an unknown metric, a name given twice, an unknown reference, and
    runs on different posts.
    """
    runs = {e.name: _ordered(e.predictions) for e in entries if e.predictions is not None}
    _require(entries, runs, metric, reference)
    failures = tuple(entry for entry in entries if entry.failure)
    if not runs:
        return Leaderboard(metric, 0, (), failures)
    first, *others = runs
    for other in others:
        paired(runs[first], runs[other], (first, other))
    found = {name: classify(rows) for name, rows in runs.items()}
    order = sorted(runs, key=lambda name: _key(getattr(found[name], metric)))
    own, from_best = _simultaneous([runs[name] for name in order], metric, draws, seed)
    standings = [
        Standing(
            name,
            found[name],
            own[place],
            from_best[place],
            gaps(runs[name], draws=draws, seed=seed),
            outcomes(runs[name]),
            _verdict(runs, name, reference, rules),
        )
        for place, name in enumerate(order)
    ]
    return Leaderboard(metric, len(runs[first]), tuple(standings), failures)


def max_t(point: Floats, values: Floats) -> list[Interval | None]:
    """Return simultaneous intervals of several statistics from their joint draws (draws, k)."""
    known = np.isfinite(values).all(axis=0) & np.isfinite(point)
    errors = np.where(known, values.std(axis=0, ddof=1), np.nan)
    moving = known & (errors > 0)
    if not moving.any():
        return [None] * len(point)
    largest = np.abs((values[:, moving] - point[moving]) / errors[moving]).max(axis=1)
    wide = float(np.quantile(largest, LEVEL))
    return [
        Interval(float(p - wide * e), float(p + wide * e)) if is_known else None
        for p, e, is_known in zip(point, errors, moving, strict=True)
    ]


def _simultaneous(
    runs: list[list[Prediction]], metric: str, draws: int, seed: int
) -> tuple[list[Interval | None], list[Interval | None]]:
    """Return the intervals of all runs, best first, and of their differences to the first."""
    column = METRIC_NAMES.index(metric)
    tables = [Table.of(rows) for rows in runs]

    def statistic(weights: Floats) -> Floats:
        return np.stack([table.metrics(weights)[:, column] for table in tables], axis=1)

    point = statistic(np.ones((1, len(runs[0]))))[0]
    values = drawn(statistic, Design.of(runs[0]), draws, seed)
    differences = max_t(point[1:] - point[0], values[:, 1:] - values[:, :1])
    return [_share(one) for one in max_t(point, values)], [None, *differences]


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
    return gate(rules, runs[name], runs[reference] if reference else None, (reference, name))


def _require(
    entries: Sequence[Entry], runs: dict[str, list[Prediction]], metric: str, reference: str | None
) -> None:
    if metric not in METRIC_NAMES:
        raise EvaluationError(f"unknown metric '{metric}'; known: {', '.join(METRIC_NAMES)}.")
    if len({entry.name for entry in entries}) < len(entries):
        raise EvaluationError("two runs have one name; a leaderboard needs each name once.")
    if reference is not None and reference not in runs:
        raise EvaluationError(f"the reference '{reference}' is no run that was evaluated.")


def _ordered(predictions: Sequence[Prediction]) -> list[Prediction]:
    return sorted(predictions, key=lambda p: p.id)


def _key(value: float | None) -> float:
    return 1.0 if value is None else -value
