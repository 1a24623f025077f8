"""The first screen of report.html: how the model does beside base and baselines, and for whom."""

from collections.abc import Iterator

from hsd.example import NONE
from hsd.metrics.groups import ALL, MINIMUM_N, RATES, Rate
from hsd.metrics.intervals import Interval
from hsd.report.base_section import base_warnings
from hsd.report.comparability import is_imported, whose
from hsd.report.dot_chart import Dot, DotChart, DotPanel, DotRow, Mark
from hsd.report.formatting import METRIC_WORDS, between, number
from hsd.report.page import Part, Section, Words
from hsd.report.report_model import EvaluationReport
from hsd.report.report_values import IntervalsReport, MetricsReport
from hsd.report.unread_replies import unread_said, unscored_said

METRICS = ("accuracy", "f1", "auroc")
FEW_GROUPS = 8
"""So many groups fit a chart as they are."""
TOLD_N = 20
"""Posts behind a rate in a chart of many groups: of fewer the interval is 40 points wide."""
RATE_TITLES: dict[Rate, str] = {
    "false_positive_rate": "False-positive rate: normal posts called hate",
    "false_negative_rate": "False-negative rate: hateful posts missed",
}
Entry = tuple[str, Mark, MetricsReport, IntervalsReport]


def glance_section(report: EvaluationReport, first_unread: str = "") -> Section:
    """Return the dots of the headline and of the error rates by group.

    `first_unread` is how a reply begins that holds no label, where the page may quote.
    """
    headline = DotChart(
        f"{whose(report.provenance).capitalize()}{', its base' if report.base else ''} and "
        "baselines",
        [panel for name in METRICS if (panel := _metric_panel(report, name)).rows],
        f"Lines are 95 % intervals. {_marks(report)}",
        stacked=True,
    )
    groups = DotChart(
        "Error rates by group",
        [DotPanel(RATE_TITLES[rate], [*_rate_rows(report, rate)]) for rate in RATES],
        _rates_note(report),
    )
    parts: list[Part] = [*map(_warning, _warnings(report, first_unread)), headline, groups]
    return Section("At a glance", parts)


def _warning(said: str) -> Part:
    return Words(said, "warning")


def _warnings(report: EvaluationReport, first_unread: str) -> Iterator[str]:
    """Yield what makes the numbers mean less than they seem to."""
    found = report.outcomes
    is_scored = report.provenance.get("mode") == "score"  # then no reply is read
    said = unscored_said if is_scored else unread_said
    unread = said(found.unreadable, found.n, first_unread)
    if unread and not is_imported(report.provenance):  # whose notes say so
        yield unread
    if seen := report.seen_in_training:
        yield (
            f"{seen:,} of these {report.headline.n:,} posts are among those that the model was "
            "trained on. They are not held out: new posts would give worse numbers."
        )
    if report.base:
        yield from base_warnings(report.base, report.provenance)


def _marks(report: EvaluationReport) -> str:
    base = "diamond: the base; " if report.base else ""
    return f"Filled circle: {whose(report.provenance)}; {base}ring: baselines."


def _entries(report: EvaluationReport) -> Iterator[Entry]:
    yield whose(report.provenance), "own", report.headline, report.intervals
    if report.base:
        yield "the base", "base", report.base.metrics, report.base.intervals
    for baseline in report.baselines:
        yield baseline.name, "other", baseline.metrics, baseline.intervals


def _metric_panel(report: EvaluationReport, name: str) -> DotPanel:
    rows = [
        metric_row(who, mark, metrics.of(name), intervals.of(name))
        for who, mark, metrics, intervals in _entries(report)
        if metrics.of(name) is not None
    ]
    return DotPanel(METRIC_WORDS[name], rows)


def metric_row(who: str, mark: Mark, value: float | None, interval: Interval | None) -> DotRow:
    """Return a row of one dot, with value and interval as text."""
    ends = f" {between(interval)}" if interval else ""
    return DotRow(who, [Dot(value, interval, mark)], f"{number(value)}{ends}")


def _rate_rows(report: EvaluationReport, rate: Rate) -> Iterator[DotRow]:
    before = _base_rates(report, rate)
    wrong, posts = _everybody(report.headline, rate)
    overall = wrong / posts if posts >= MINIMUM_N else None
    yield _rate_row(ALL, Dot(overall), posts, before.get(ALL))
    for name in _shown_groups(report, rate, overall):
        share = report.groups[name].share(rate)
        dot = Dot(share.value, share.interval)
        yield _rate_row(group_words(report.title(name)), dot, share.of, before.get(name))


def group_words(name: str) -> str:
    """Return a group's name, and words for the posts about none."""
    return "about no group" if name == NONE else name


def _shown_groups(report: EvaluationReport, rate: Rate, overall: float | None) -> list[str]:
    """Return the groups of a chart: all while they are few.

    Of many, those with enough posts to say something, the ones furthest from all posts first: who
    looks for a second sees whom it is about.
    """
    if len(report.groups) <= FEW_GROUPS:
        return list(report.groups)
    rates = {name: group.share(rate) for name, group in report.groups.items()}
    told = [name for name, share in rates.items() if share.of >= TOLD_N]
    return sorted(told, key=lambda name: -abs((rates[name].value or 0.0) - (overall or 0.0)))


def _rates_note(report: EvaluationReport) -> str:
    if len(report.groups) <= FEW_GROUPS:
        return "Further left is better. A rate of fewer than 5 posts is not estimable (-)."
    return (
        "Further left is better. The groups furthest from all posts first; groups with at least "
        f"{TOLD_N} posts behind a rate. Groups with fewer stand under Groups."
    )


def _rate_row(name: str, dot: Dot, posts: int, base: float | None) -> DotRow:
    ends = f" {between(dot.interval)}" if dot.interval else ""
    beside = f", base {number(base)}" if base is not None else ""
    dots = [Dot(base, mark="base"), dot] if base is not None else [dot]
    return DotRow(name, dots, f"{number(dot.value)}{ends} of {posts:,}{beside}")


def _everybody(counts: MetricsReport, rate: Rate) -> tuple[int, int]:
    if rate == "false_positive_rate":
        return counts.fp, counts.normals
    return counts.fn, counts.hates


def _base_rates(report: EvaluationReport, rate: Rate) -> dict[str, float | None]:
    changes = report.base.comparison.rates if report.base else ()
    return {change.group: change.reference for change in changes if change.rate == rate}
