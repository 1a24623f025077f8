"""The first screen of comparison and leaderboard pages: a verdict in one sentence, then dots."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hsd.metrics.changes import RateChange
from hsd.metrics.comparison import Comparison
from hsd.metrics.groups import RATES
from hsd.metrics.leaderboard import Leaderboard, Standing
from hsd.report.dot_chart import Dot, DotChart, DotPanel, DotRow, Mark, around_zero
from hsd.report.formatting import METRIC_WORDS, between, change_between, number, signed, spelled_out
from hsd.report.glance import METRICS, group_words, metric_row
from hsd.report.leaderboard_rows import behind_best
from hsd.report.page import Badge, Section

_WORST_FIRST = ("WORSE", "MAYBE WORSE", "NO RISE SHOWN")
SHOWN_REASONS = 3
"""Rises of error rates that are shown without a click."""


def comparison_badge(
    comparisons: Sequence[Comparison], sentences: Sequence[Sequence[str]]
) -> Badge | None:
    """Return whether an error rate rose from the reference to another run, in one sentence."""
    worse = [found.other for found in comparisons if found.worse]
    unclear = [found.other for found in comparisons if _may_be_worse(found)]
    if not comparisons:
        return None
    reference = comparisons[0].reference
    pairs = zip(comparisons, sentences, strict=True)
    reasons = [f"{found.other}: {line}" for found, (_, *lines) in pairs for line in lines]
    if worse:
        sentence = f"{_names(worse)}: at least one error rate is higher than with {reference}."
        return Badge("WORSE", reasons[:SHOWN_REASONS], sentence, _rest(reasons), "fail")
    if unclear:
        sentence = (
            f"{_names(unclear)}: an error rate or a difference between groups may be larger than "
            f"with {reference}."
        )
        return Badge(
            "MAYBE WORSE", reasons[:SHOWN_REASONS], sentence, _rest(reasons), "underpowered"
        )
    others = _names([found.other for found in comparisons])
    sentence = f"{others}: no error rate of any group is shown to be higher than with {reference}."
    return Badge("NO RISE SHOWN", reasons, sentence)


def runs_badge(
    comparisons: Sequence[Comparison],
    sentences: Sequence[Sequence[str]],
    board: Leaderboard | None,
) -> Badge | None:
    """Return the best run, where runs are ranked, and whether an error rate rose."""
    found = comparison_badge(comparisons, sentences)
    if board is None:
        return found
    best = leaderboard_badge(board)
    risen = [f"{found.status}: {found.sentence}"] if found else []
    if found is None:
        return best
    look = best.look or found.look
    return replace(
        best, reasons=[*best.reasons, *risen], folded=found.folded or found.reasons, look=look
    )


def sets_badge(sets: Mapping[str, Badge | None]) -> Badge | None:
    """Return the same over several sets: the worst status, and a line for each set."""
    found = {of: badge for of, badge in sets.items() if badge}
    if not found:
        return None
    worst = min(found.values(), key=lambda badge: _WORST_FIRST.index(badge.status))
    with_it = [of for of, badge in found.items() if badge.status == worst.status]
    lines = [f"{of}: {badge.sentence}" for of, badge in found.items()]
    folded = [
        f"{of}: {line}" for of, badge in found.items() for line in badge.folded or badge.reasons
    ]
    sentence = f"So on {len(with_it)} of {len(sets)} sets: {_names(with_it)}."
    return Badge(worst.status, lines, sentence, folded, worst.look)


def _may_be_worse(found: Comparison) -> bool:
    return bool(found.may_be_worse) or any(gap.grew for gap in found.gaps)


def leaderboard_badge(board: Leaderboard) -> Badge:
    """Return which run is the best, and which are not shown to be behind it."""
    if not board.standings:
        return Badge("NO RESULT", [], f"None of {len(board.failures)} runs has a result.")
    best, *others = board.standings
    near = [one.name for one in others if behind_best(one, board.metric) == "no"]
    reasons = [f"Not shown to be behind it: {_names(near)}."] if near else []
    if board.failures:
        reasons.append(f"No result: {_names([entry.name for entry in board.failures])}.")
    if best.verdict:
        reasons.append(f"Gate: {best.verdict.status.value}.")
    sentence = (
        f"{best.name} has the highest {METRIC_WORDS[board.metric]}, {_score(best, board.metric)}, "
        f"of {len(board.standings)} runs on {board.n:,} posts."
    )
    return Badge("BEST", reasons, sentence)


def changes_section(comparisons: Sequence[Comparison]) -> Section:
    """Return the change of each run's headline metrics from the reference, as dots."""
    panels = [DotPanel(found.other, _metric_rows(found)) for found in comparisons]
    end = around_zero([row for panel in panels for row in panel.rows])
    note = "Right of 0: better than the reference. Lines are paired 95 % intervals."
    chart = DotChart("Change of the headline metrics", panels, note, -end, end)
    return Section("Changes at a glance", [chart] if panels else [])


def rates_chart(found: Comparison) -> DotChart:
    """Return the change of each error rate by group, as dots."""
    changes = [change for change in found.rates if change.n]
    rows = {rate: [_change_row(c) for c in changes if c.rate == rate] for rate in RATES}
    end = around_zero([row for part in rows.values() for row in part])
    note = "Right of 0: worse. Lines are paired 95 % intervals (Bonett and Price, 2012)."
    panels = [DotPanel(spelled_out(rate), part) for rate, part in rows.items() if part]
    return DotChart("Change of the error rates", panels, note, -end, end)


def standings_chart(board: Leaderboard) -> DotChart:
    """Return the runs of a leaderboard with their simultaneous intervals, best first."""
    marks = _marks(len(board.standings))
    rows = [
        metric_row(one.name, mark, _value(one, board.metric), one.interval)
        for one, mark in zip(board.standings, marks, strict=True)
    ]
    note = "Filled circle: the best run. Lines are simultaneous 95 % intervals."
    return DotChart(f"Runs by {METRIC_WORDS[board.metric]}", [DotPanel("", rows)], note)


def _metric_rows(found: Comparison) -> list[DotRow]:
    changes = {change.name: change for change in found.metrics}
    return [
        DotRow(
            METRIC_WORDS[name],
            [Dot(changes[name].difference, changes[name].interval)],
            f"{signed(changes[name].difference)} {change_between(changes[name].interval)}",
        )
        for name in METRICS
    ]


def _change_row(change: RateChange) -> DotRow:
    ends = f" {change_between(change.interval)}" if change.interval else ""
    words = f"{signed(change.difference)}{ends} of {change.n:,}"
    return DotRow(group_words(change.group), [Dot(change.difference, change.interval)], words)


def _score(one: Standing, metric: str) -> str:
    ends = f" {between(one.interval)}" if one.interval else ""
    return f"{number(_value(one, metric))}{ends}"


def _marks(runs: int) -> list[Mark]:
    best: list[Mark] = ["own"]
    others: list[Mark] = ["other"] * (runs - 1)
    return [*best, *others]


def _value(one: Standing, metric: str) -> float | None:
    value: float | None = getattr(one.metrics, metric)
    return value


def _rest(reasons: Sequence[str]) -> Sequence[str]:
    return reasons if len(reasons) > SHOWN_REASONS else ()


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)
