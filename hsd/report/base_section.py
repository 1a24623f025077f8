"""The parts of report.html that hold a model against its base, post by post."""

from collections.abc import Mapping
from typing import Any

from hsd.example import NONE
from hsd.metrics.classification import METRIC_NAMES
from hsd.metrics.drawn_rates import GAPS
from hsd.report.comparability import asked_in, mismatches
from hsd.report.formatting import CONTENT_WARNING, GAP_WORDS, METRIC_WORDS, REDACTED
from hsd.report.page import (
    Look,
    PageTable,
    Part,
    Section,
    Words,
    count,
    estimated_change,
    p,
    text,
    value,
)
from hsd.report.report_changes import BaseReport, ChangeReport, ComparisonReport
from hsd.report.report_model import EvaluationReport

SHOWN_ROWS = 50
"""Rows listed as newly broken or newly fixed; report.json has them all."""


def base_sections(report: EvaluationReport, texts: Mapping[str, str]) -> list[Section]:
    """Return what changed from the base, and for which posts; nothing without a base."""
    if report.base is None:
        return []
    parts = _changes(report.base)
    return [Section("Changes from the base", parts), _changed_posts(report.base, texts)]


def _changes(base: BaseReport) -> list[Part]:
    """Return which run the base is, and what changed from it: metrics, error rates, gaps."""
    compared = base.comparison
    header = ["", "base", "this model", "change"]
    metrics = [_change(METRIC_WORDS[name], compared.metrics[name]) for name in METRIC_NAMES]
    gaps = [_change(GAP_WORDS[name], compared.gaps[name]) for name in GAPS]
    note = "Above 0 groups lie further apart than with the base."
    return [
        Words(f"The base is {base.name}: prompt {base.asked.settings.words()}."),
        PageTable("Change of each metric, on the same posts", header, metrics),
        _rates(compared),
        PageTable("Change of the differences between groups", header, gaps, note),
    ]


def _changed_posts(base: BaseReport, texts: Mapping[str, str]) -> Section:
    """Return the posts that were right and are wrong, then the other way; quoted if `texts`."""
    looks: dict[str, Look] = {"newly wrong": "bad", "newly right": "good"}
    rows = [
        [
            text(post.id),
            text(now, look),
            text(post.true_label),
            text(", ".join(post.groups) or NONE),
            text(texts.get(post.id, REDACTED), "words"),
        ]
        for now, look in looks.items()
        for post in [post for post in base.turned if post.now == now][:SHOWN_ROWS]
    ]
    if not rows:
        return Section("Changed predictions", [])
    header = ["id", "now", "label", "groups", "post"]
    note = f"At most {SHOWN_ROWS} of each; report.json lists all."
    parts: list[Part] = [
        PageTable("Posts whose decision changed from the base to this model", header, rows, note)
    ]
    warning = [Words(CONTENT_WARNING, "danger")] if texts else []
    return Section("Changed predictions", [*warning, *parts])


def base_warnings(base: BaseReport, provenance: Mapping[str, Any]) -> list[str]:
    """Return what of the base's prompt and settings is not this model's."""
    before, own = base.asked.settings, asked_in(provenance)
    warnings = []
    if unlike := mismatches(before, own):
        warnings.append(f"Base and model were read differently: {'; '.join(unlike)}.")
    if None not in (before.prompt, own.prompt) and before.prompt != own.prompt:
        warnings.append("Base and model were asked with different prompts.")
    return warnings


def _change(words: str, change: ChangeReport) -> list[Any]:
    return [
        text(words),
        value(change.reference),
        value(change.other),
        estimated_change(change.difference, change.interval),
    ]


def _rates(comparison: ComparisonReport) -> PageTable:
    rows = [
        [
            text(f"{r.group}: {r.rate.replace('_', ' ')}"),
            count(r.n),
            value(r.reference),
            value(r.other),
            estimated_change(r.difference, r.interval),
            p(r.holm_p if r.holm_p is not None else r.mcnemar_p),
        ]
        for r in comparison.rates
        if r.n
    ]
    header = ["error rate", "posts", "base", "this model", "change", "p (Holm by group)"]
    return PageTable("Against the base, on the same posts", header, rows)
