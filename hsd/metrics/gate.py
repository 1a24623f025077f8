"""Whether a run may pass: each rule is shown, broken, or undecided for want of rows.

A rise is within its margin when the whole 95 % interval is; beyond it when the estimate is, and
the interval leaves no room for "no rise at all". What is neither is UNDERPOWERED, not PASS:
fifty posts cannot show that nothing got worse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hsd.config.gate import GateRules, Margins
from hsd.metrics.comparison import ALL, Comparison, MetricChange, RateChange, compare
from hsd.metrics.gaps import GAPS, Gaps, gaps
from hsd.metrics.groups import NONE
from hsd.metrics.intervals import Interval, wilson
from hsd.metrics.outcomes import outcomes
from hsd.metrics.prediction import Prediction


class Status(StrEnum):
    """What became of a rule, or of all of them; a failed rule wins over an undecided one."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDERPOWERED = "UNDERPOWERED"

    @property
    def exit_code(self) -> int:
        """What `hsd gate` ends with; anything but 0 stops a SLURM `afterok` chain."""
        return {"PASS": 0, "FAIL": 20, "UNDERPOWERED": 21}[self.value]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: what it is about, what was found over `n` posts, and the limit it has to keep.

    `needed` posts would decide an undecided rule if the estimate stayed where it is.
    """

    rule: str
    about: str
    status: Status
    value: float | None
    interval: Interval | None
    limit: float
    n: int
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rules; `not_judged` names rates of groups with too few posts for a rule."""

    reference: str | None
    run: str
    checks: tuple[Check, ...]
    not_judged: tuple[str, ...]

    @property
    def status(self) -> Status:
        """FAIL if a rule is broken, else UNDERPOWERED if one is undecided, else PASS."""
        found = {check.status for check in self.checks}
        return next((s for s in (Status.FAIL, Status.UNDERPOWERED) if s in found), Status.PASS)


def gate(
    rules: GateRules,
    run: Sequence[Prediction],
    reference: Sequence[Prediction] | None = None,
    names: tuple[str | None, str] = (None, "run"),
) -> Verdict:
    """Judge a run by the rules; those about a rise need the reference.

    Raises EvaluationError when both runs do not hold the same posts.
    """
    checks: list[Check] = []
    not_judged: list[str] = []
    if reference is not None:
        compared = compare(reference, run, (names[0] or "reference", names[1]))
        checks.append(_f1(rules, compared))
        for change in compared.rates:
            if change.n >= rules.minimum_n:
                checks.append(_rate(rules, change))
            elif change.n and change.group != NONE:
                not_judged.append(f"{change.group} {change.rate} ({change.n} posts)")
    rows = sorted(run, key=lambda p: p.id)
    checks += [*_floors(rules, gaps(rows), len(rows)), _unreadable(rules, rows)]
    return Verdict(names[0], names[1], tuple(checks), tuple(not_judged))


def _f1(rules: GateRules, compared: Comparison) -> Check:
    change: MetricChange = next(c for c in compared.metrics if c.name == "f1")
    fall = None if change.difference is None else -change.difference
    interval = change.interval and Interval(-change.interval.high, -change.interval.low)
    return _rise("F1 falls by", ALL, fall, interval, rules.f1_margin, compared.n)


def _rate(rules: GateRules, change: RateChange) -> Check:
    margins = rules.groups.get(change.group, rules.margin)
    limit: float = getattr(margins, change.rate)
    words = f"{change.rate.replace('_', ' ')} rises by"
    return _rise(words, change.group, change.difference, change.interval, limit, change.n)


def _rise(
    rule: str, about: str, value: float | None, interval: Interval | None, limit: float, n: int
) -> Check:
    """Judge what may rise by at most `limit`."""
    if value is None:
        return Check(rule, about, Status.UNDERPOWERED, None, None, limit, n)
    low, high = (interval.low, interval.high) if interval else (value, value)
    if high <= limit:
        status, needed = Status.PASS, None
    elif value > limit and low > 0:
        status, needed = Status.FAIL, None
    else:
        status, needed = Status.UNDERPOWERED, _needed(value, high, limit, n)
    return Check(rule, about, status, value, interval, limit, n, needed)


def _needed(value: float, high: float, limit: float, n: int) -> int | None:
    """Return how many posts would bring the interval's end to the limit: widths go as 1/sqrt(n)."""
    return round(n * ((high - value) / (limit - value)) ** 2) if value < limit else None


def _floors(rules: GateRules, found: Gaps, n: int) -> Iterator[Check]:
    if rules.worst_group_f1 is not None:
        worst, limit = found.worst, rules.worst_group_f1
        if worst is None:
            yield Check("lowest F1", "any group", Status.UNDERPOWERED, None, None, limit, n)
        else:
            yield _at_most("lowest F1", worst.group, worst.f1, worst.interval, limit, n, -1)
    if rules.largest_gap is not None:
        for name in GAPS[:2]:
            gap, words = found.raw.gaps.get(name), f"{name.replace('_', ' ')} difference"
            if gap is None:
                limit = rules.largest_gap
                yield Check(words, "any groups", Status.UNDERPOWERED, None, None, limit, n)
            else:
                about = f"{gap.highest}, {gap.lowest}"
                yield _at_most(words, about, gap.value, gap.interval, rules.largest_gap, n, 1)


def _unreadable(rules: GateRules, rows: Sequence[Prediction]) -> Check:
    found = outcomes(rows)
    interval = wilson(found.unreadable, found.n)
    if not found.unreadable and all(p.score is not None for p in rows):
        interval = None  # labels were scored: no reply could have been unreadable
    return _at_most(
        "unreadable replies", ALL, found.unreadable_rate, interval, rules.unreadable, found.n, 1
    )


def _at_most(
    rule: str, about: str, value: float | None, interval: Interval | None, limit: float, n: int,
    sign: int,
) -> Check:  # fmt: skip
    """Judge what has to be at most `limit`, or at least with sign -1."""
    if value is None:
        return Check(rule, about, Status.UNDERPOWERED, None, None, limit, n)
    ends = (interval.low, interval.high) if interval else (value, value)
    if sign * value > sign * limit:
        status = Status.FAIL
    elif max(sign * end for end in ends) <= sign * limit:
        status = Status.PASS
    else:
        status = Status.UNDERPOWERED
    return Check(rule, about, status, value, interval, limit, n)


__all__ = ["Check", "GateRules", "Margins", "Status", "Verdict", "gate"]
