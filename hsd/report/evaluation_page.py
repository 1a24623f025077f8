"""report.html: the numbers of report.json for people, in the order they should be read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hsd.metrics.classification import METRIC_NAMES, POLICIES
from hsd.metrics.groups import ALL, RATES
from hsd.prediction import OUTCOMES, Prediction
from hsd.report.base_section import base_sections
from hsd.report.comparability import is_imported, whose
from hsd.report.formatting import (
    CONTENT_WARNING,
    METRIC_WORDS,
    POLICY_WORDS,
    REDACTED,
    UNREADABLE_IS_WRONG,
    on_one_line,
    percent,
    seen_words,
    spelled_out,
)
from hsd.report.gate_section import badge, gate_section
from hsd.report.glance import glance_section
from hsd.report.groups_section import groups_section
from hsd.report.page import (
    Lines,
    Page,
    PageTable,
    Part,
    Section,
    TableCell,
    Words,
    count,
    estimate,
    render_page,
    spread,
    text,
    value,
)
from hsd.report.report_model import EvaluationReport
from hsd.report.tests_section import tests_section
from hsd.report.threshold_sections import calibration_section, thresholds_section
from hsd.report.unread_replies import first_unread

FIRST_FACTS = frozenset(
    ("detector", "engine", "source.file", "source.form", "source.scores",
     "model.name", "model.revision", "model.adapter", "model.quantization", "data.data_file",
     "data.rows", "prompt.template", "prompt.strategy", "prompt.hash", "prompt.note",
     "mode", "max_length", "temperature", "date", "code.commit", "training_rows")
)  # fmt: skip
"""What tells one evaluation from another; the rest is for who repeats it."""


def evaluation_page(
    report: EvaluationReport, predictions: Sequence[Prediction] = (), *, with_text: bool = False
) -> str:
    """Return report.html; posts are quoted only `with_text`."""
    texts = {p.id: p.text for p in predictions} if with_text else {}
    sections = [
        glance_section(report, first_unread(predictions) if with_text else ""),
        groups_section(report),
        calibration_section(report),
        thresholds_section(report),
        gate_section(report.gate),
        _headline(report),
        *base_sections(report, texts),
        _slices(report),
        tests_section(report),
        _errors(report, texts),
        _replies(report),
        Section("Not measured", [Lines(report.not_measured)]),
        _provenance(report),
    ]
    n, headline = report.headline.n, report.headline
    subtitle = (
        f"{n:,} posts: {headline.hates:,} hateful, {headline.normals:,} normal. {_asked(report)} "
        f"Intervals are 95 %. {UNREADABLE_IS_WRONG}"
    )
    verdict = badge(report.gate, imported=is_imported(report.provenance))
    title = f"Evaluation of {_name(report.provenance)}"
    return render_page(Page(title, [s for s in sections if s.parts], subtitle, verdict))


def _asked(report: EvaluationReport) -> str:
    if is_imported(report.provenance):
        return "The predictions were imported: hsd did not run this detector."
    return f"Strategy {report.strategy}."


def _name(provenance: Mapping[str, Any]) -> str:
    model = provenance.get("model") or {}
    names = (model.get("adapter"), model.get("name"), model.get("base"), provenance.get("detector"))
    return str(next(filter(None, names), "a model"))


def _provenance(report: EvaluationReport) -> Section:
    facts = on_one_line(report.provenance)
    seen, n = report.seen_in_training, report.headline.n
    first = [(name, said) for name, said in facts if name in FIRST_FACTS]
    first.append(("posts trained on", seen_words(seen, n)))
    rest = [(name, said) for name, said in facts if name not in FIRST_FACTS]
    parts: list[Part] = [_facts("What was evaluated", first)]
    if rest:
        title = f"Further facts ({len(rest)}): weights, device, packages"
        parts.append(replace(_facts(title, rest), folded=True))
    return Section("Provenance", parts, folded=True)


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> PageTable:
    rows = [[text(name), text(said, "words")] for name, said in facts]
    return PageTable(title, ["what", "value"], rows)


def _replies(report: EvaluationReport) -> Section:
    groups = {name: group.outcomes for name, group in report.groups.items()}
    rows = [
        [text(name), count(found.n), *(_rate_of(found.of(o), found.n) for o in OUTCOMES)]
        for name, found in {ALL: report.outcomes, **groups}.items()
    ]
    parts: list[Part] = [PageTable("Replies", ["posts", "n", *OUTCOMES], rows)]
    chance = report.unreadable_by_group_p
    if chance is not None and chance < 0.05:
        said = f"Unreadable replies go with the group (permutation p {chance:.2g})."
        parts.append(Words(said, "warning"))
    header = ["unreadable is", "posts", *(METRIC_WORDS[name] for name in METRIC_NAMES)]
    policies = [
        [
            text(POLICY_WORDS[policy]),
            count(report.policies.of(policy).n),
            *(value(report.policies.of(policy).of(name)) for name in METRIC_NAMES),
        ]
        for policy in POLICIES
    ]
    parts.append(PageTable("Unreadable replies read in three ways", header, policies))
    return Section("Replies", parts)


def _rate_of(hits: int, n: int) -> TableCell:
    return TableCell(percent(hits / n if n else None), hits / n if n else None)


def _headline(report: EvaluationReport) -> Section:
    base = report.base
    columns = {whose(report.provenance): (report.headline, report.intervals)}
    if base:
        columns["the base"] = (base.metrics, base.intervals)
    columns |= {b.name: (b.metrics, b.intervals) for b in report.baselines}
    rows = [
        [text(METRIC_WORDS[name]), *(estimate(m.of(name), i.of(name)) for m, i in columns.values())]
        for name in METRIC_NAMES
    ]
    parts: list[Part] = [PageTable("Headline", ["metric", *columns], rows)]
    counts = report.headline
    confusion = [
        [text("truly hate"), count(counts.tp), count(counts.fn)],
        [text("truly normal"), count(counts.fp), count(counts.tn)],
    ]
    parts.append(PageTable("Confusion matrix", ["", "called hate", "called normal"], confusion))
    return Section("All metrics", parts)


def _slices(report: EvaluationReport) -> Section:
    rows = [
        [text(f"{s.kind}: {s.name}"), count(s.metrics.n),
         *(estimate(s.metrics.of(m), s.intervals.of(m)) for m in ("accuracy", "f1", "auroc")),
         *(spread(s.share(r)) for r in RATES)]
        for s in report.slices
    ]  # fmt: skip
    header = ["slice", "posts", "accuracy", "F1", "AUROC", *map(spelled_out, RATES)]
    return Section("Slices", [PageTable("Parts of the posts", header, rows)] if rows else [])


def _errors(report: EvaluationReport, texts: Mapping[str, str]) -> Section:
    rows = [
        [text(group), text(post.id), text(post.true_label), text(post.label),
         value(post.score), text(post.source_dataset),
         text(texts.get(post.id, REDACTED), "words")]
        for group, posts in report.confident_errors.items()
        for post in posts
    ]  # fmt: skip
    scored = any(post.score is not None for posts in report.confident_errors.values()
                 for post in posts)  # fmt: skip
    title = "Confident errors" if scored else "Errors"
    if not rows:
        return Section(title, [])
    header = ["group", "id", "label", "called", "P(hate)", "source", "post"]
    said = (
        "The most confident errors of each group"
        if scored
        else "Errors of each group, the first by id"
    )
    parts: list[Part] = [PageTable(said, header, rows)]
    return Section(title, [Words(CONTENT_WARNING, "danger"), *parts] if texts else parts)
