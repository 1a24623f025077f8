"""The page of a comparison, and that of a leaderboard, in the look of an evaluation's."""

from collections.abc import Mapping, Sequence

from hsd.metrics.changes import RateChange
from hsd.metrics.comparison import Comparison
from hsd.metrics.leaderboard import Leaderboard, Standing
from hsd.report.comparability import COMPARED, RunSettings, mismatch_lines
from hsd.report.comparison_glance import (
    changes_section,
    leaderboard_badge,
    rates_chart,
    runs_badge,
    standings_chart,
)
from hsd.report.formatting import GAP_WORDS, METRIC_WORDS, RATE_LEGEND, RATE_WORDS, percent
from hsd.report.gate_section import gate_report, verdict_lines
from hsd.report.leaderboard_rows import behind_best
from hsd.report.page import (
    Lines,
    Look,
    Page,
    PageTable,
    Part,
    Section,
    TableCell,
    Words,
    count,
    estimate,
    estimated_change,
    p,
    render_page,
    text,
    value,
)

SHOWN_ROWS = 50
"""Rows listed as newly broken or newly fixed; comparison.json has them all."""


def comparison_page(
    comparisons: Sequence[Comparison],
    asked: Mapping[str, RunSettings],
    sentences: Sequence[Sequence[str]],
    board: Leaderboard | None = None,
    groups_note: str | None = None,
) -> str:
    """Return the page of several runs against the first; with a leaderboard of them all.

    `groups_note` says which groups were compared, where runs were counted in different ones.
    """
    first = comparisons[0].reference if comparisons else "no reference"
    ranking = board_sections(board) if board else []
    changes = comparison_sections(comparisons, sentences)
    sections = [*ranking[:1], changes_section(comparisons), *ranking[1:], *changes]
    if unlike := mismatch_lines(asked):
        sections.insert(1, Section("Not read alike", [Lines(unlike, "danger")]))
    if groups_note:
        note = Lines([groups_note], "danger")
        sections.insert(1, Section("Not counted in the same groups", [note]))
    sections.append(prompts_section(asked))
    subtitle = (
        f"Against {first}. Differences are the other run minus the reference; 95 % intervals."
    )
    badge = runs_badge(comparisons, sentences, board)
    shown = [section for section in sections if section.parts]
    return render_page(Page("Comparison of evaluations", shown, subtitle, badge))


def comparison_sections(
    comparisons: Sequence[Comparison],
    sentences: Sequence[Sequence[str]],
    board: Leaderboard | None = None,
) -> list[Section]:
    """Return the sections of each comparison on one set, the ranking first."""
    sections = [*board_sections(board)] if board else []
    for found, said in zip(comparisons, sentences, strict=True):
        sections += _comparison(found, said)
    return sections


def prompts_section(asked: Mapping[str, RunSettings]) -> Section:
    """Return how each run was asked and read."""
    rows = [
        [
            text(name),
            text((one.prompt or "unknown")[:12]),
            *(text(str(getattr(one, k) if getattr(one, k) is not None else "unknown"))
              for k in COMPARED),
        ]
        for name, one in asked.items()
    ]  # fmt: skip
    table = PageTable("How each run was asked", ["run", "prompt", *COMPARED], rows)
    return Section("Prompts", [table])


def leaderboard_page(board: Leaderboard, title: str = "Leaderboard") -> str:
    """Return the page of a leaderboard, such as a sweep's."""
    ran = f"{len(board.standings)} runs on the same {board.n:,} posts"
    subtitle = f"{ran}; {len(board.failures)} have no result."
    return render_page(Page(title, board_sections(board), subtitle, leaderboard_badge(board)))


def board_sections(board: Leaderboard) -> list[Section]:
    """Return the ranking, each run's groups, and the gate's reasons."""
    header = ["run", "gate", METRIC_WORDS[board.metric], "behind the best", "accuracy", "AUROC",
              "worst group F1", "false-positive-rate difference", "unreadable"]  # fmt: skip
    rows = [_standing(one, board.metric) for one in board.standings]
    rows += [[text(e.name), text("no result", "bad"), *[value(None)] * 6, text(e.failure, "words")]
             for e in board.failures]  # fmt: skip
    note = (
        "Intervals hold for all runs at once (max-t bootstrap), so they are wider than a single "
        "run's. A run is behind the best only by an interval that holds for all pairs of runs, "
        "since the same posts chose the best."
    )
    parts: list[Part] = [standings_chart(board)] if board.standings else []
    parts.append(PageTable(f"Ranked by {METRIC_WORDS[board.metric]}", header, rows, note))
    sections = [Section("Leaderboard", parts)]
    reasons: list[Part] = []
    for one in board.standings:
        if one.verdict is not None:
            reasons.append(Words(f"{one.name}: {one.verdict.status.value}"))
            reasons.append(Lines(verdict_lines(gate_report(one.verdict))))
    return [*sections, Section("Gate", reasons)] if reasons else sections


def _standing(one: Standing, metric: str) -> list[TableCell]:
    gap = one.gaps.raw.gaps.get("false_positive_rate")
    unread = one.outcomes.unreadable_rate
    return [
        text(one.name),
        _verdict(one),
        estimate(getattr(one.metrics, metric), one.interval),
        text(behind_best(one, metric), "bad" if one.is_apart else "absent"),
        value(one.metrics.accuracy),
        value(one.metrics.auroc),
        value(one.gaps.worst.f1 if one.gaps.worst else None),
        estimate(gap.value, gap.interval) if gap else value(None),
        TableCell(percent(unread), unread),
    ]


def _verdict(one: Standing) -> TableCell:
    if one.verdict is None:
        return text("-", "absent")
    looks: dict[str, Look] = {"FAIL": "bad", "UNDERPOWERED": "warn", "PASS": "good"}
    return text(one.verdict.status.value, looks[one.verdict.status.value])


def _comparison(found: Comparison, said: Sequence[str]) -> list[Section]:
    first, *worse = said
    metrics = [
        [
            text(METRIC_WORDS[c.name]),
            value(c.reference),
            value(c.other),
            estimated_change(c.difference, c.interval),
        ]
        for c in found.metrics
    ]
    gaps = [
        [
            text(GAP_WORDS[g.name]),
            value(g.reference),
            value(g.other),
            estimated_change(g.difference, g.interval),
        ]
        for g in found.gaps
    ]
    rates = [
        [text(f"{c.group}: {RATE_WORDS[c.rate]}"), count(c.n), value(c.reference), value(c.other),
         estimated_change(c.difference, c.interval, _look(c)),
         p(c.p_value), p(c.holm_p), count(c.broken), count(c.fixed)]
        for c in found.rates
    ]  # fmt: skip
    header = ["", "reference", "other", "change"]
    by_group = ["error rate", "posts", "reference", "other", "change", "McNemar p", "Holm p",
                "newly wrong", "newly right"]  # fmt: skip
    parts: list[Part] = [Words(first)]
    if worse:
        parts.append(Lines(worse, "danger"))
    parts += [
        rates_chart(found),
        PageTable("Headline", header, metrics),
        PageTable("Error rates on the same posts", by_group, rates, RATE_LEGEND),
        PageTable("Differences between groups", header, gaps),
    ]
    return [
        Section(f"{found.other} against {found.reference}", parts),
        Section(f"Changed predictions: {found.other}", _moved(found)),
    ]


def _look(change: RateChange) -> Look:
    return "bad" if change.worse else "warn" if change.may_be_worse else ""


def _moved(found: Comparison) -> list[Part]:
    moved = [(id_, "newly wrong") for id_ in found.broken[:SHOWN_ROWS]]
    moved += [(id_, "newly right") for id_ in found.fixed[:SHOWN_ROWS]]
    looks: dict[str, Look] = {"newly wrong": "bad", "newly right": "good"}
    rows = [[text(id_), text(how, looks[how])] for id_, how in moved]
    note = f"At most {SHOWN_ROWS} of each; posts are not quoted here."
    return [PageTable("Posts whose decision changed", ["id", "now"], rows, note)]
