"""The table of models by sets in words, as rows for tables, as JSON, and as sections of a page."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hsd.metrics.by_set import BySet, Estimate, Mark, SetRow
from hsd.metrics.seen_in_training import Overlap, Overlaps
from hsd.report.formatting import METRIC_WORDS, between, number
from hsd.report.markdown import markdown_cell, markdown_table
from hsd.report.numbers import as_json_values
from hsd.report.page import Lines, Look, PageTable, Part, Section, TableCell, estimate, text

MEAN = "mean over sets"
MARKS: dict[Mark, str] = {"better": "+", "worse": "-", "": ""}
NOT_EVALUATED = ""
_LOOKS: dict[Mark, Look] = {"better": "good", "worse": "bad", "": ""}


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each set's file without folder and ending; as it is where two would read alike."""
    stems = [Path(name).stem for name in names]
    return {
        name: stem if stems.count(stem) == 1 else name
        for name, stem in zip(names, stems, strict=True)
    }


def set_heads(table: BySet) -> list[str]:
    """Return each set's name, its posts, and how many of them another set holds too."""
    short = short_names(list(table.sets))
    return [
        "\n".join([short[of], f"{n:,} posts", *_shared(table.overlaps, of)])
        for of, n in table.sets.items()
    ]


def _shared(found: Overlaps, of: str) -> list[str]:
    return [f"{found.shared[of]:,} shared"] if found.shared[of] else []


def by_set_rows(table: BySet, metric: str) -> list[tuple[str, ...]]:
    """Return a row for each model: its estimate on each set, then the mean over sets."""
    return [
        (row.name, *(estimate_words(one) for one in _estimates(table, row, metric)))
        for row in table.rows
    ]


def estimate_words(one: Estimate | None) -> str:
    """Return mark and value, and the interval below them; nothing where there is no evaluation."""
    if one is None:
        return NOT_EVALUATED
    return f"{MARKS[one.mark]} {number(one.value)}\n{between(one.interval)}".lstrip()


def legend(table: BySet) -> list[str]:
    """Return what the table's marks mean and what its mean is of."""
    lines = []
    if len(table.rows) > 1:
        lines.append(
            f"+ and -: better and worse than {table.reference}; the paired 95 % interval of the "
            "difference, each by itself, does not hold 0."
        )
    if len(table.sets) > 1:
        lines.append(
            f"The mean is over {len(table.sets)} sets, not over posts: each set counts alike, and "
            "its interval (Student's) is for other sets like these. A model that lacks a set has "
            "no mean."
        )
    return [*lines, *overlap_lines(table.overlaps)]


def overlap_lines(found: Overlaps) -> list[str]:
    """Return a sentence for each pair of sets that share posts."""
    short = short_names(list(found.shared))
    return [_overlap_line(pair, short[pair.first], short[pair.second]) for pair in found.pairs]


def _overlap_line(pair: Overlap, first: str, second: str) -> str:
    shared = f"{pair.in_first:,} posts"
    if pair.in_first != pair.in_second:  # one of them holds a post twice
        shared = f"posts ({pair.in_first:,} of {first}, {pair.in_second:,} of {second})"
    return f"{first} and {second} share {shared}: a table of both counts them twice."


def by_set_numbers(table: BySet) -> dict[str, Any]:
    """Return the table as JSON; a set that a model did not answer is null."""
    return {
        "reference": table.reference,
        "metrics": list(table.metrics),
        "sets": {of: {"n": n, "shared": table.overlaps.shared[of]} for of, n in table.sets.items()},
        "overlaps": [asdict(pair) for pair in table.overlaps.pairs],
        "models": [
            {
                "name": row.name,
                "sets": {of: _numbers(row.cells.get(of)) for of in table.sets},
                "mean_over_sets": _numbers(row.means) if _has_mean(table) else None,
            }
            for row in table.rows
        ],
    }


def _numbers(cell: Any) -> dict[str, Any] | None:
    if not cell:
        return None
    return {metric: {**as_json_values(one), "mark": one.mark} for metric, one in cell.items()}


def by_set_markdown(table: BySet) -> str:
    """Return the tables of both metrics and their legend in Markdown."""
    heads = ["model", *set_heads(table), *_mean_head(table)]
    parts = [
        f"**{METRIC_WORDS[metric]}**\n\n{markdown_table(heads, by_set_rows(table, metric))}"
        for metric in table.metrics
    ]
    return "\n\n".join([*parts, "\n".join(f"- {markdown_cell(line)}" for line in legend(table))])


def by_set_section(table: BySet) -> Section:
    """Return the tables of both metrics and their legend for a page."""
    heads = ["model", *(head.replace("\n", ", ") for head in set_heads(table)), *_mean_head(table)]
    parts: list[Part] = [
        PageTable(
            METRIC_WORDS[metric],
            heads,
            [
                [text(row.name), *(_cell(one) for one in _estimates(table, row, metric))]
                for row in table.rows
            ],
        )
        for metric in table.metrics
    ]
    return Section("By set", [*parts, Lines(legend(table))])


def _cell(one: Estimate | None) -> TableCell:
    if one is None:
        return TableCell(NOT_EVALUATED, None, "absent")
    found = estimate(one.value, one.interval, _LOOKS[one.mark])
    return TableCell(f"{MARKS[one.mark]} {found.text}".lstrip(), found.value, found.look)


def _estimates(table: BySet, row: SetRow, metric: str) -> list[Estimate | None]:
    cells = [row.cells[of][metric] if of in row.cells else None for of in table.sets]
    return [*cells, *([row.means.get(metric)] if _has_mean(table) else [])]


def _mean_head(table: BySet) -> list[str]:
    return [MEAN] if _has_mean(table) else []


def _has_mean(table: BySet) -> bool:
    return len(table.sets) > 1
