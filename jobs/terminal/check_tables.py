"""What a check of data counted, on a terminal: posts, what they can show, lengths."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from math import ceil

from rich.console import Group, RenderableType
from rich.table import Table

from hsd.data.data_check import PLANNED_RATE, DataFindings, Power
from hsd.example import LABELS
from hsd.report.formatting import UNKNOWN, number, percent
from jobs.terminal.console import escape
from jobs.terminal.data_tables import table

SOURCES = 3
"""Sources with a column of their own, the largest: more would not fit 80 characters."""
NAME = 14
"""Characters that are shown of a source's name, for the same reason; the page has all."""
BAR = 30
"""Characters of the longest bar."""


def check_tables(checked: DataFindings) -> RenderableType:
    """Return the tables of a check that have rows."""
    tables = (_posts(checked), _power(checked), _lengths(checked), _overflow(checked))
    return Group(*(one for one in tables if one.row_count))


def _posts(checked: DataFindings) -> Table:
    sizes = Counter[str]()
    for (*_, source), n in checked.cells.items():
        sizes[source] += n
    shown = sorted(source for source, _ in sizes.most_common(SOURCES))
    made = table("posts", *map(_short, shown), *_more(len(sizes)), "all")
    made.caption = "Hate + normal posts by split, group and source."
    splits = dict.fromkeys(split for split, *_ in checked.cells)
    for split in splits:
        groups = dict.fromkeys(group for s, group, *_ in checked.cells if s == split)
        made.add_row(escape(split), *_cells(checked, shown, split), style="bold")
        for group in groups:
            made.add_row(escape(f"  {group}"), *_cells(checked, shown, split, group))
    return made


def _cells(
    checked: DataFindings, shown: list[str], split: str, group: str | None = None
) -> Iterator[str]:
    """Yield `hate+normal` of each source shown, of the others if any, and of all."""
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for (s, g, label, source), n in checked.cells.items():
        by_source[source][label] += n if s == split and group in (None, g) else 0
    others = [counts for source, counts in by_source.items() if source not in shown]
    columns = [[by_source[source]] for source in shown]
    columns += [others] * bool(others) + [list(by_source.values())]
    for column in columns:
        yield "+".join(str(sum(counts[label] for counts in column)) for label in LABELS)


def _more(sources: int) -> list[str]:
    return [f"{sources - SOURCES} others"] if sources > SOURCES else []


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 3]}..."


def _power(checked: DataFindings) -> Table:
    made = table("what they can show", *(name for label in LABELS for name in (label, "+-", "gap")))
    made.caption = (
        f"Half-widths of 95 % intervals at an error rate of {PLANNED_RATE}: of the rate (hate: "
        "false negatives, normal: false positives), and of its gap to the smallest other group."
    )
    rows: dict[tuple[str, str], dict[str, Power]] = defaultdict(dict)
    for p in checked.power:
        rows[p.split, p.group][p.label] = p
    for (split, group), labels in sorted(rows.items()):
        cells = (text for name in LABELS for text in _shown(labels.get(name)))
        made.add_row(escape(f"{split}: {group}"), *cells)
    return made


def _shown(power: Power | None) -> tuple[str, str, str]:
    if power is None:
        return "0", UNKNOWN, UNKNOWN
    return str(power.n), number(power.rate), number(power.gap)


def _lengths(checked: DataFindings) -> Table:
    made = table(checked.unit, "rows")
    made.add_column("", min_width=BAR)
    made.caption = checked.measured
    most = max(checked.lengths.values())
    for name, n in checked.lengths.items():
        if most:
            made.add_row(name, str(n), "#" * ceil(BAR * n / most))
    return made


def _overflow(checked: DataFindings) -> Table:
    made = table("rows that are cut", "cut", "of", "share")
    for group, (over, of) in checked.overflow.items():
        made.add_row(escape(group), str(over), str(of), percent(over / of))
    return made
