"""Tables over several sets on a terminal: one model's, and models by sets."""

import textwrap
from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult

from hsd.metrics.by_set import BySet
from hsd.metrics.groups import Proportion
from hsd.metrics.intervals import Interval
from hsd.metrics.seen_in_training import Overlaps
from hsd.report.compare_sets import SetsComparison
from hsd.report.comparison_report import RunsComparison, sentences
from hsd.report.formatting import METRIC_WORDS, RATE_LEGEND, between, number
from hsd.report.report_model import EvaluationReport
from hsd.report.report_values import MetricsReport
from hsd.report.set_section import (
    MEAN,
    by_set_rows,
    legend,
    overlap_lines,
    set_heads,
    short_names,
)
from jobs.terminal.console import escape
from jobs.terminal.number_tables import board_table
from jobs.terminal.plain_tables import number_table

_NUMBERS = 15
"""Columns of `+ 0.812` over `[0.761, 0.857]`, with the space behind them."""
_NAME = 20
"""The least that names of models have, where there are more sets than fit beside each other."""


def sets_table(reports: Mapping[str, EvaluationReport], shared: Overlaps) -> RenderableType:
    """Return one model's table of its sets, a row each, from their report.json."""
    short = short_names(list(reports))
    header = ("set", "accuracy", "F1", "AUROC", "FPR\nFNR", "worst F1")
    rows = [_set_row(short[of], report, shared.shared[of]) for of, report in reports.items()]
    return Group(
        number_table("", header, rows, leading=1),
        RATE_LEGEND,
        *map(escape, overlap_lines(shared)),
    )


def _set_row(name: str, report: EvaluationReport, shared: int) -> tuple[str, ...]:
    found, intervals = report.headline, report.intervals
    worst, everybody = report.gaps.worst, _rates(found)
    posts = f"{found.n:,} posts" + (f"\n{shared:,} shared" if shared else "")
    return (
        "\n".join([*_lines(name), posts]),
        *(_estimate(found.of(name), intervals.of(name)) for name in ("accuracy", "f1", "auroc")),
        "\n".join(everybody),
        f"{number(worst.f1)}\n{worst.group}" if worst else number(None),
    )


def _rates(counts: MetricsReport) -> tuple[str, str]:
    pairs = ((counts.fp, counts.normals), (counts.fn, counts.hates))
    first, second = (Proportion(wrong, posts).value for wrong, posts in pairs)
    return number(first), number(second)


def _estimate(value: float | None, ends: Interval | None) -> str:
    return f"{number(value)}\n{between(ends)}"


class BySetTables:
    """Models by sets, a table for each metric; sets that do not fit beside each other follow."""

    def __init__(self, table: BySet) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables for this console's width, and what their marks mean."""
        heads = [*map(_narrow, set_heads(self._table))]
        heads += [MEAN] if len(self._table.sets) > 1 else []
        room = max(1, (options.max_width - _NAME) // _NUMBERS)
        for metric in self._table.metrics:
            rows = by_set_rows(self._table, metric)
            for start in range(0, len(heads), room):
                part = slice(start + 1, start + 1 + room)
                yield number_table(
                    f"{METRIC_WORDS[metric]} by set",
                    ("model", *heads[start : start + room]),
                    [(row[0], *row[part]) for row in rows],
                    leading=1,
                )
        yield from map(escape, legend(self._table))


def _narrow(head: str) -> str:
    """Return a column's head, its name on as many lines as it takes."""
    return "\n".join(part for line in head.splitlines() for part in _lines(line))


def _lines(line: str) -> list[str]:
    return textwrap.wrap(line, _NUMBERS - 1)


def sets_comparison(compared: SetsComparison) -> RenderableType:
    """Return models by sets, then for each set the ranking, if any, and what changed on it."""
    parts: list[RenderableType] = [BySetTables(compared.by_set)]
    for of, found in compared.sets.items():
        if found:
            parts.append(f"[bold]On {escape(of)}[/]")
            parts += [board_table(found.board)] if found.board else []
            parts += change_lines(found)
    return Group(*parts)


def change_lines(compared: RunsComparison | None) -> list[str]:
    """Return a line for each comparison on one set, as markup."""
    return [
        f"[bold]{escape(one.other)}[/] against {escape(one.reference)}: "
        + escape(" ".join(sentences(one)))
        for one in (compared.comparisons if compared else ())
    ]
