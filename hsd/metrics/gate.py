"""Whether a run may pass: each rule is shown, broken, or undecided for want of rows.

A rise is within its margin when the whole 95 % interval is; beyond it when the estimate is, and
the interval leaves no room for "no rise at all". A floor or ceiling is kept or broken when the
whole interval is on one side, for each group. What is neither is UNDERPOWERED, not PASS: fifty
posts cannot show that nothing got worse, and posts that are not there cannot either.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hsd.config.gate_rules import GateRules
from hsd.errors import ConfigError
from hsd.example import NONE
from hsd.metrics.changes import MetricChange, RateChange
from hsd.metrics.clusters import units
from hsd.metrics.comparison import Comparison, compare
from hsd.metrics.drawn_rates import GAPS
from hsd.metrics.gaps import Gap, Gaps, gaps
from hsd.metrics.groups import ALL, MINIMUM_N, RATES, Group, Proportion, Rate, by_group
from hsd.metrics.intervals import Interval, paired_rate, wilson
from hsd.metrics.pairs import paired
from hsd.metrics.rule_result import (
    RuleResult,
    Status,
    bounded,
    by_root,
    doubted,
    least_posts,
    needing,
    rise,
    undecided,
)
from hsd.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rules; `not_judged` names what no rule is about, and why."""

    reference: str | None
    run: str
    checks: tuple[RuleResult, ...]
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
    compared: Comparison | None = None,
) -> Verdict:
    """Return what the rules say of a run; those about a rise need the reference.

    A reference that is named but has no rows leaves these undecided. `compared` is what `compare`
    gives for the two, where it is known already: its intervals take seconds.

    Raises ConfigError where there is neither a reference nor a floor, and EvaluationError when both
    runs do not hold the same posts.
    """
    if names[0] is None and reference is None and not rules.has_floor:
        raise ConfigError(
            "there is nothing to judge by: give --reference RUN, or a floor such as "
            "--set worst_group_f1=0.6."
        )
    rows = sorted(run, key=lambda p: p.id)
    groups = {n: g for n, g in by_group(rows).items() if n not in rules.ignore_groups}
    checks, skipped = [*_absent(rules, groups)], [*_ignored(rules, by_group(rows))]
    sides = (names[0] or "the reference", names[1])
    if reference is not None:
        paired(reference, rows, sides)  # whatever it says: of other posts it is no reference
    if names[0] is not None or reference is not None:
        against, passed_over = _against(rules, rows, reference, sides, compared)
        checks += against
        skipped += passed_over
    else:
        skipped.append("rises of error rates (no reference was given)")
    if rules.has_floor:
        found = gaps(rows, leave_out=rules.ignore_groups)
        checks += _floors(rules, found, {n: g for n, g in groups.items() if n != NONE})
    checks.append(_unreadable(rules, rows))
    return Verdict(names[0], names[1], tuple(checks), tuple(skipped))


def _against(
    rules: GateRules,
    rows: Sequence[Prediction],
    reference: Sequence[Prediction] | None,
    names: tuple[str, str],
    compared: Comparison | None,
) -> tuple[list[RuleResult], list[str]]:
    """Return the rules about a rise from the reference, and what none of them is about."""
    margin = rules.margin.false_positive_rate
    if reference is None:
        why = f"the reference {names[0]} has no result"
        return [undecided("F1 falls by", ALL, rules.f1_margin, len(rows), why)], []
    if constant := _constant(reference):
        why = (
            f"{names[0]} calls every post {constant}, so it never misses one "
            "kind of post and any detector does; take `--baseline encoder` or `--baseline tfidf` "
            "(for imported predictions with --train-file FILE), "
            "another run, or floors such as worst_group_f1"
        )
        return [undecided("error rates rise by", ALL, margin, len(rows), why)], []
    compared = compared or compare(reference, rows, names)
    checks, skipped = [_f1(rules, compared)], []
    for change in compared.rates:
        if change.group == NONE and change.n < rules.minimum_n:
            skipped.append(f"{_words(change.rate)} about nobody ({change.n} posts)")
        elif change.group not in rules.ignore_groups:
            checks.append(_rate(rules, change))
    return checks, skipped


def _constant(reference: Sequence[Prediction]) -> str | None:
    """Return the one label that a reference gives to posts of both; None where it tells any apart.

    An untouched small model often calls every post hate: it is no reference for who is missed.
    """
    calls = {p.label for p in reference}
    (label,) = calls if len(calls) == 1 else (None,)
    return label if len({p.true_label for p in reference}) > 1 else None


def _ignored(rules: GateRules, groups: Collection[str]) -> Iterator[str]:
    for name in sorted(rules.ignore_groups):
        absent = "" if name in groups else "; no post is about it"
        yield f"{name} (ignored by the rules{absent})"


def _absent(rules: GateRules, groups: Mapping[str, Group]) -> Iterator[RuleResult]:
    """Yield an undecided rule for each group that has margins but no post: or is misspelt."""
    for name in sorted(rules.groups.keys() - groups.keys()):
        others = ", ".join(group for group in groups if group != NONE) or "nobody"
        why = f"no post is about this group; they are about {others}"
        limit = rules.groups[name].false_positive_rate
        yield undecided(f"{_words(RATES[0])} rises by", name, limit, 0, why)


def _f1(rules: GateRules, compared: Comparison) -> RuleResult:
    change: MetricChange = next(c for c in compared.metrics if c.name == "f1")
    fall = None if change.difference is None else -change.difference
    ends = change.interval or _f1_by_rates(compared)
    interval = ends and Interval(-ends.high, -ends.low)
    check = rise("F1 falls by", ALL, fall, interval, rules.f1_margin, compared.n)
    return check if interval is None else needing(check, by_root(check, interval.high))


def _f1_by_rates(compared: Comparison) -> Interval | None:
    """Return F1's change where no draw changes it, from the intervals of both error rates."""
    alarms, misses = (change for change in compared.rates if change.group == ALL)
    if alarms.interval is None or misses.interval is None:
        return None

    def f1(more_alarms: float, more_misses: float) -> float:
        alarm = min(1.0, max(0.0, (alarms.reference or 0.0) + more_alarms))
        miss = min(1.0, max(0.0, (misses.reference or 0.0) + more_misses))
        right = 2 * misses.n * (1 - miss)
        return right / (right + misses.n * miss + alarms.n * alarm) if right else 0.0

    now = f1(0.0, 0.0)
    low = f1(alarms.interval.high, misses.interval.high)
    return Interval(low - now, f1(alarms.interval.low, misses.interval.low) - now)


def _rate(rules: GateRules, change: RateChange) -> RuleResult:
    margins = rules.groups.get(change.group, rules.margin)
    limit: float = getattr(margins, change.rate)
    rule = f"{_words(change.rate)} rises by"
    check = rise(rule, change.group, change.difference, change.interval, limit, change.n)
    if change.n < rules.minimum_n:
        return doubted(check, rules.minimum_n)

    # With `n` posts, and as large a share of them turning either way as here, would the interval
    # fit? Posts that share a template tell less: they count as `n / effect`.
    def fits(n: float) -> bool:
        posts = n / change.effect
        there = paired_rate(
            change.broken / change.n * posts, change.fixed / change.n * posts, posts
        )
        return there is not None and there.high <= limit

    return needing(check, lambda: least_posts(change.n, fits))


def _floors(rules: GateRules, found: Gaps, groups: Mapping[str, Group]) -> Iterator[RuleResult]:
    if rules.worst_group_f1 is not None:
        yield from _each_f1(rules.worst_group_f1, rules.minimum_n, found, groups)
    if rules.largest_gap is not None:
        for name, rate in zip(GAPS, RATES, strict=False):
            rule = f"{name.replace('_', ' ')} difference"
            least = {group: counts.denominator(rate) for group, counts in groups.items()}
            gap = found.raw.gaps.get(name)
            yield from _gap(rule, rules.largest_gap, rules.minimum_n, gap, least)


def _each_f1(
    limit: float, minimum_n: int, found: Gaps, groups: Mapping[str, Group]
) -> Iterator[RuleResult]:
    """Yield whether each group keeps the floor: a large one must not hide a small one."""
    for name, group in groups.items():
        n = min(group.counts.hates, group.counts.normals)
        if name in found.f1:
            ends = found.f1_intervals[name]
            check = bounded("F1", name, found.f1[name], ends, limit, n, -1)
            yield doubted(check, minimum_n)
        else:
            yield undecided("F1", name, limit, n)
    if not groups:
        yield undecided("F1", "any group", limit, 0)


def _gap(
    rule: str, limit: float, minimum_n: int, gap: Gap | None, least: Mapping[str, int]
) -> Iterator[RuleResult]:
    """Yield whether the largest difference keeps the ceiling; `least` are each group's posts."""
    known = {name: n for name, n in least.items() if n >= MINIMUM_N}
    if gap:
        n = min(known.values())
        about = f"{gap.highest}, {gap.lowest}"
        check = bounded(rule, about, gap.value, gap.interval, limit, n, 1)
        yield doubted(check, minimum_n)
    missing = [name for name in least if name not in known]
    for name in missing or ([] if gap else ["any groups"]):
        yield undecided(rule, name, limit, least.get(name, 0))


def _unreadable(rules: GateRules, rows: Sequence[Prediction]) -> RuleResult:
    unread = [p.label is None for p in rows]
    share, n, limit = sum(unread) / len(rows), len(rows), rules.unreadable
    if not share and all(p.score is not None for p in rows):
        # Labels were scored: no reply could have been unreadable.
        return RuleResult("unreadable replies", ALL, Status.PASS, 0.0, None, limit, n)
    found = Proportion.of(unread, units(rows))
    check = bounded("unreadable replies", ALL, share, found.ends, limit, n, 1)

    def fits(posts: float) -> bool:
        there = wilson(share * posts / found.effect, posts / found.effect)
        return there is not None and there.high <= limit

    return needing(check, lambda: least_posts(n, fits))


def _words(rate: Rate) -> str:
    return rate.replace("_", " ")
