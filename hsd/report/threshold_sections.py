"""The parts of report.html about scores: calibration, curves and the frozen threshold."""

from hsd.metrics.classification import METRIC_NAMES
from hsd.metrics.groups import ALL, RATES
from hsd.report import figures
from hsd.report.comparability import is_imported
from hsd.report.formatting import (
    METRIC_WORDS,
    percent,
    score_targets,
    share_words,
    spelled_out,
)
from hsd.report.noise_sentences import noise_lines
from hsd.report.page import (
    Figure,
    PageTable,
    Part,
    Section,
    TableCell,
    Words,
    count,
    estimate,
    p,
    spread,
    text,
    value,
)
from hsd.report.report_model import EvaluationReport
from hsd.report.report_scores import OperatedReport


def calibration_section(report: EvaluationReport) -> Section:
    """Return whether a score means what it says; empty without scores."""
    return Section("Calibration", [*_calibrated(report), *_by_share(report)])


def _calibrated(report: EvaluationReport) -> list[Part]:
    overall, groups = report.calibration, report.calibration_by_group
    if not overall:
        return []
    named = {"all posts": overall, **groups}
    operated = report.operating_point
    if operated and operated.calibration:
        scaled = f"all posts, at temperature {operated.point.temperature:.2f}"
        named[scaled] = operated.calibration
    rows = [
        [
            text(name),
            count(c.n),
            estimate(c.ece, c.ece_interval),
            p(c.ece_p),
            estimate(c.brier, c.brier_interval),
        ]
        for name, c in named.items()
    ]
    note = "Chance: how often scores that mean what they say would have so large an ECE."
    table = PageTable("Calibration", ["posts", "n", "ECE", "chance", "Brier"], rows, note)
    sizes = {name: found.n for name, found in groups.items()}
    drawing = figures.reliability(overall, figures.shown_curves(groups, sizes))
    return [table, Figure(drawing, "On the line a score means what it says.")]


def _by_share(report: EvaluationReport) -> list[Part]:
    found = report.calibration_against_share
    if not found:
        return []
    rows = [
        [
            text(words),
            value(apart.ece),
            estimate(apart.brier, apart.brier_interval),
            estimate(apart.log_loss, apart.log_loss_interval),
        ]
        for words, apart in score_targets(found).items()
    ]
    header = ["compared with", "ECE", "Brier", "log-loss"]
    return [PageTable("Against the share of annotators", header, rows, share_words(found))]


def thresholds_section(report: EvaluationReport) -> Section:
    """Return the curves and the frozen threshold, where there are scores, and the platform."""
    operated = report.operating_point
    point = operated.point if operated else None
    parts: list[Part] = []
    if report.curves and report.curves[ALL].roc:
        sizes = {name: g.hates + g.normals for name, g in report.groups.items()}
        shown = figures.shown_curves(report.curves, sizes)
        left = len(report.curves) - len(shown)
        few = f" The largest groups; {left} smaller ones are in report.json." if left else ""
        parts = [
            Figure(figures.roc_and_pr(shown), f"ROC and precision-recall curves.{few}"),
            Figure(
                figures.threshold_rates(shown, point.threshold if point else None),
                "Error rates over the threshold. Dotted: .5. Solid: the frozen threshold, if any."
                + few,
            ),
        ]
    parts += map(Words, noise_lines(report))
    if operated:
        parts += _operated(report, operated)
    parts += _platform(report, operated)
    return Section("Thresholds", parts)


def _own_label(report: EvaluationReport) -> str:
    """Return what the labels of the headline are."""
    return "imported label" if is_imported(report.provenance) else "likelier label"


def _platform(report: EvaluationReport, operated: OperatedReport | None) -> list[Part]:
    loads = [(_own_label(report), row) for row in report.at_prevalence]
    loads += [("frozen threshold", row) for row in (operated.prevalences if operated else [])]
    rows = [
        [
            text(f"{how}, {percent(r.prevalence)} hate"),
            estimate(r.precision, r.interval),
            TableCell(f"{r.flagged:.1f}", r.flagged),
            TableCell(f"{r.missed:.1f}", r.missed),
        ]
        for how, r in loads
    ]
    header = ["decision", "precision", "flagged in 1,000", "hate missed in 1,000"]
    note = (
        "Tests hold about half hate; platforms a few per cent. Same error rates, other prevalence; "
        "an unreadable reply flags a normal post and misses a hateful one."
    )
    return [PageTable("What it would mean on a platform", header, rows, note)] if rows else []


def _operated(report: EvaluationReport, operated: OperatedReport) -> list[Part]:
    point = operated.point
    own = f" (in the file's own scale: {point.own_scale})" if point.own_scale else ""
    words = (
        f"Frozen threshold {point.threshold:.4f}{own} by the rule {point.rule}, chosen on "
        f"{point.rows:,} rows of {point.chosen_on}; never on the posts evaluated here."
    )
    rows = [
        [
            text(METRIC_WORDS[name]),
            estimate(report.headline.of(name), report.intervals.of(name)),
            estimate(operated.metrics.of(name), operated.intervals.of(name)),
        ]
        for name in METRIC_NAMES
    ]
    header = ["metric", _own_label(report), "frozen threshold"]
    groups = [
        [text(name), *(spread(g.share(rate)) for rate in RATES)]
        for name, g in operated.groups.items()
    ]  # fmt: skip
    by_group = ["group", *map(spelled_out, RATES)]
    return [
        Words(words),
        PageTable("At the frozen threshold", header, rows),
        PageTable("By group at the frozen threshold", by_group, groups),
    ]
