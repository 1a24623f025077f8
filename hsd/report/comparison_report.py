"""A comparison of runs in words: rows for tables, sentences, and a Markdown page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from hsd.config.gate_rules import GateRules
from hsd.errors import EvaluationError
from hsd.groups.group_set import GroupSet
from hsd.io.files import write_atomic, write_json
from hsd.metrics.changes import GapChange, RateChange
from hsd.metrics.comparison import Comparison, compare_all
from hsd.metrics.groups import ALL
from hsd.metrics.leaderboard import Entry, Leaderboard, leaderboard
from hsd.report.comparability import RunSettings, asked_of, mismatch_lines, require_comparable
from hsd.report.comparison_page import comparison_page
from hsd.report.formatting import (
    DIFFERENCE_WORDS,
    GAP_WORDS,
    METRIC_WORDS,
    RATE_LEGEND,
    RATE_WORDS,
    UNREADABLE_IS_WRONG,
    change_between,
    number,
    p_value,
    signed,
)
from hsd.report.markdown import markdown_cell, markdown_table
from hsd.report.numbers import SCHEMA, board_numbers, comparison_numbers
from hsd.report.predictions import Run, load_run
from hsd.report.regrouping import on_shared_groups
from hsd.report.replaceable import require_replaceable

METRIC_HEADER = ("metric", "ref.", "other", "change", "95 %")
RATE_HEADER = ("group", "rate", "of", "ref.", "other", "change", "95 %", "Holm p")


@dataclass(frozen=True, slots=True)
class RunsComparison:
    """Several runs against the first; `asked` says how each was asked and read.

    `board` ranks them all, where it was asked for.
    """

    comparisons: list[Comparison]
    asked: Mapping[str, RunSettings]
    board: Leaderboard | None = None
    groups_note: str | None = None
    """Which groups were compared, where the runs were not counted in the same ones."""

    def prompt_lines(self) -> list[str]:
        """Return one line a run: its prompt and how it was read; then what is not alike."""
        return [
            *(f"prompt of {name}: {asked.words()}" for name, asked in self.asked.items()),
            *mismatch_lines(self.asked),
            *([self.groups_note] if self.groups_note else []),
        ]

    def numbers(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {
            "schema": SCHEMA,
            "prompts": {name: asked.prompt for name, asked in self.asked.items()},
            "asked": {name: asdict(asked) for name, asked in self.asked.items()},
            "comparisons": [comparison_numbers(c) for c in self.comparisons],
            **({"leaderboard": board_numbers(self.board)} if self.board else {}),
            **({"groups_note": self.groups_note} if self.groups_note else {}),
        }

    def page(self) -> str:
        """Return the comparison as one self-contained HTML page."""
        return comparison_page(
            self.comparisons, self.asked, self.said(), self.board, self.groups_note
        )

    def said(self) -> list[list[str]]:
        """Return what each comparison comes to."""
        return [sentences(comparison) for comparison in self.comparisons]

    def markdown(self) -> str:
        """Return the comparison as a Markdown page."""
        return comparison_markdown(self)


def compare_runs(
    folders: Sequence[Path],
    metric: str | None = None,
    rules: GateRules | None = None,
    *,
    ignore_mode_mismatch: bool = False,
    groups: GroupSet | None = None,
) -> RunsComparison:
    """Return each later run against the first; a folder may hold the run in its one run_*.

    Posts are counted in `groups`, or else in the groups that all runs share.

    With `metric` or `rules` all runs are ranked too, and judged by the gate against the first.

    Raises EvaluationError for fewer than two runs, where the runs hold different posts, and,
    unless `ignore_mode_mismatch`, where they were read in different ways.
    """
    require_each_once(folders)
    named = {str(folder): folder for folder in folders}
    return compare_named(
        named, metric, rules, ignore_mode_mismatch=ignore_mode_mismatch, groups=groups
    )


def require_each_once(folders: Sequence[Path]) -> None:
    """Raise EvaluationError when a run was named twice."""
    if len(set(folders)) < len(folders):
        raise EvaluationError("a run was named twice; a run compared with itself says nothing.")


def compare_named(
    folders: Mapping[str, Path],
    metric: str | None = None,
    rules: GateRules | None = None,
    *,
    ignore_mode_mismatch: bool = False,
    groups: GroupSet | None = None,
) -> RunsComparison:
    """Return the same for runs that go by other names than their folders'."""
    if len(folders) < 2:
        raise EvaluationError("a comparison needs two runs or more; the first is the reference.")
    runs = {name: load_run(folder, groups) for name, folder in folders.items()}
    return compare_loaded(runs, metric, rules, ignore_mode_mismatch=ignore_mode_mismatch)


def compare_loaded(
    runs: Mapping[str, Run],
    metric: str | None = None,
    rules: GateRules | None = None,
    *,
    ignore_mode_mismatch: bool = False,
) -> RunsComparison:
    """Return the same for runs that were read."""
    asked = {name: asked_of(run.folder) for name, run in runs.items()}
    if not ignore_mode_mismatch:
        require_comparable(asked)
    rows = {name: run.predictions for name, run in runs.items()}
    counted, note = on_shared_groups(rows, {name: run.groups for name, run in runs.items()})
    board = None
    if metric or rules:
        entries = [Entry(name, rows) for name, rows in counted.items()]
        board = leaderboard(entries, metric or "f1", reference=next(iter(runs)), rules=rules)
    return RunsComparison(
        compare_all(counted),
        asked,
        board,
        note,
    )


class Written(Protocol):
    """What can be written: a comparison on one set or on several."""

    def page(self) -> str:
        """Return it as one self-contained HTML page."""

    def numbers(self) -> dict[str, Any]:
        """Return it as JSON."""

    def markdown(self) -> str:
        """Return it as a Markdown page."""


def write_comparison(path: Path, compared: Written) -> None:
    """Write an HTML or Markdown page, or JSON, by the ending of `path`.

    Raises EvaluationError for another ending, and where something else than a comparison is there.
    """
    require_replaceable(path)
    if path.suffix == ".html":
        write_atomic(path, compared.page())
    elif path.suffix == ".json":
        write_json(path, compared.numbers())
    elif path.suffix == ".md":
        write_atomic(path, compared.markdown())
    else:
        raise EvaluationError(f"{path}: a comparison is written as .html, .md or .json.")


def metric_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return one row a headline metric, under METRIC_HEADER."""
    return [
        (
            METRIC_WORDS[change.name],
            number(change.reference),
            number(change.other),
            signed(change.difference),
            change_between(change.interval),
        )
        for change in comparison.metrics
    ]


def rate_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return one row a group and error rate, under RATE_HEADER."""
    return [
        (
            change.group,
            RATE_WORDS[change.rate],
            str(change.n),
            number(change.reference),
            number(change.other),
            signed(change.difference),
            change_between(change.interval),
            p_value(change.holm_p),
        )
        for change in comparison.rates
    ]


def sentences(comparison: Comparison) -> list[str]:
    """Return what the tables come to; a rate that rose for a group is said whatever else rose."""
    broken, fixed = len(comparison.broken), len(comparison.fixed)
    return [
        f"{comparison.n} posts, the same in both runs: {fixed} newly right, {broken} newly wrong "
        f"(exact McNemar p {_equals(comparison.p_value)}). {UNREADABLE_IS_WRONG}",
        *(_gap(change) for change in comparison.gaps if change.grew),
        *(f"Worse for {_rise(change)}." for change in comparison.worse),
        *(
            f"May be worse for {_rise(change)}; {_doubt(change)}"
            for change in comparison.may_be_worse
        ),
    ]


def comparison_markdown(compared: RunsComparison) -> str:
    """Return a Markdown page with every comparison against the first run."""
    prompts = "\n".join(f"- {markdown_cell(line)}" for line in compared.prompt_lines())
    parts = ["# Comparison of evaluations", prompts, *comparison_parts(compared)]
    return "\n\n".join(parts) + "\n"


def comparison_parts(compared: RunsComparison) -> list[str]:
    """Return the parts of a Markdown page about each comparison, each under a title."""
    parts = []
    for comparison in compared.comparisons:
        reference, other = map(markdown_cell, (comparison.reference, comparison.other))
        parts += [
            f"## {reference} (reference) and {other} (other)",
            "\n".join(f"- {markdown_cell(sentence)}" for sentence in sentences(comparison)),
            markdown_table(METRIC_HEADER, metric_rows(comparison)),
            markdown_table(RATE_HEADER, rate_rows(comparison)),
            RATE_LEGEND,
        ]
    return parts


def _gap(change: GapChange) -> str:
    return (
        f"Groups lie further apart: {GAP_WORDS[change.name]} {number(change.reference)} to "
        f"{number(change.other)}, {signed(change.difference)} {change_between(change.interval)}."
    )


def _doubt(change: RateChange) -> str:
    if change.holm_p is None:
        return f"but the exact test leaves it to chance (p {_equals(change.p_value or 0.0)})."
    return (
        "by itself more than chance leaves, but not where so many rates are looked at "
        f"(Holm p {_equals(change.holm_p)})."
    )


def _rise(change: RateChange) -> str:
    whom = "all posts" if change.group == ALL else f"posts about {change.group}"
    return (
        f"{whom}: {DIFFERENCE_WORDS[change.rate]} {signed(change.difference)} "
        f"{change_between(change.interval)} over {change.n} posts"
    )


def _equals(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"
