"""The part of report.html about test cases, pairs of posts, and posts with the group swapped."""

from collections.abc import Sequence

from hsd.metrics.contrast import EVERYBODY
from hsd.report import figures
from hsd.report.page import (
    Figure,
    PageTable,
    Part,
    Section,
    count,
    estimated_change,
    spread,
    text,
    value,
)
from hsd.report.report_model import EvaluationReport
from hsd.report.report_parts import FunctionalityReport, PairsReport, SwapReport


def tests_section(report: EvaluationReport) -> Section:
    """Return accuracy by functionality, pairs, and swapped groups; empty where posts name none."""
    parts: list[Part] = []
    if cases := report.functionalities:
        targets = list(dict.fromkeys(name for case in cases for name in case.right))
        shares = [[_share_right(case, target) for target in targets] for case in cases]
        names = [case.name for case in cases]
        parts.append(
            Figure(
                figures.heat_map(names, targets, shares), "Accuracy by functionality and target."
            )
        )
        rows = [
            [text(case.name), text(case.label), count(case.right[EVERYBODY].of),
             *map(value, row)]
            for case, row in zip(cases, shares, strict=True)
        ]  # fmt: skip
        header = ["functionality", "label", "cases", *targets]
        parts.append(PageTable("Accuracy by functionality", header, rows))
    if pairs := report.contrasts:
        parts.append(_contrasts(pairs))
    if pairs := report.invariances:
        parts.append(_invariances(pairs))
    if found := report.swaps:
        parts.append(_swaps(found, report.swap_terms_version))
    return Section("Functional tests", parts)


def _share_right(case: FunctionalityReport, target: str) -> float | None:
    return case.right[target].value if target in case.right else None


def _contrasts(pairs: Sequence[PairsReport]) -> PageTable:
    rows = [
        [text(c.functionality), count(c.n), spread(c.consistency),
         count(c.only_reference), count(c.only_contrast)]
        for c in pairs
    ]  # fmt: skip
    header = ["contrast", "pairs", "both right", "only the reference", "only this one"]
    return PageTable("Contrast pairs: labels differ, words hardly", header, rows)


def _invariances(pairs: Sequence[PairsReport]) -> PageTable:
    rows = [
        [text(c.functionality), count(c.n), spread(c.consistency),
         spread(c.same_call), count(c.same_call.of), count(c.unread)]
        for c in pairs
    ]  # fmt: skip
    header = ["change", "pairs", "both right", "same call", "pairs read", "pairs unread"]
    note = "Same call, right or wrong: of the pairs whose two replies could be read."
    return PageTable("Invariance pairs: the label stays, words hardly", header, rows, note)


def _swaps(found: Sequence[SwapReport], terms: int | None) -> PageTable:
    rows = [
        [text(f"{s.before} to {s.after}"), count(s.flips.of), spread(s.flips),
         count(s.to_hate), count(s.unread),
         estimated_change(s.mean_shift, s.shift_interval)]
        for s in found
    ]  # fmt: skip
    header = ["swap", "pairs read", "flip rate", "flips to hate", "pairs unread", "mean shift"]
    listed = f"Term list version {terms}. " if terms else ""
    note = (
        f"{listed}The label is the same post's. Flips are of the pairs whose "
        "two replies could be read."
    )
    return PageTable("The group swapped for another", header, rows, note)
