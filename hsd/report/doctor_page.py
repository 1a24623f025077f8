"""What the data doctor found, as text and as a page. No post is quoted."""

from collections.abc import Sequence

from hsd.counted import counted
from hsd.data.data_check import PLANNED_RATE, DataFindings
from hsd.report import figures
from hsd.report.formatting import percent
from hsd.report.page import (
    Badge,
    Figure,
    Page,
    PageTable,
    Part,
    Section,
    TableCell,
    Words,
    count,
    render_page,
    text,
    value,
)

SHOWN = 3


def doctor_lines(checked: DataFindings) -> list[str]:
    """Return the findings as lines, errors first, and how the rows were read."""
    lines = [f"{counted(checked.rows, 'row')}."]
    for finding in sorted(checked.findings, key=lambda f: f.severity != "error"):
        places = "" if finding.reasons else f" ({'; '.join(finding.places[:SHOWN])})"
        lines.append(f"{finding.severity.upper()}: {finding.said}{places}")
        lines.extend(f"  {reason}" for reason in finding.reasons)
    if not checked.findings:
        lines.append("Nothing was found.")
    return [*lines, *(f"Note: {note}" for note in checked.notes)]


def doctor_page(checked: DataFindings, files: Sequence[str]) -> str:
    """Return the page of a check."""
    status = "FAIL" if checked.errors else "PASS"
    reasons = [f"{f.severity}: {f.said}" for f in checked.findings] or ["Nothing found."]
    sections = [_findings(checked), _counts(checked), _power(checked), _lengths(checked)]
    subtitle = f"{counted(checked.rows, 'row')} of {', '.join(files)}."
    shown = [section for section in sections if section.parts]
    return render_page(
        Page(
            "Data check",
            shown,
            subtitle,
            Badge(status, reasons, look="fail" if checked.errors else "pass"),
        )
    )


def _findings(checked: DataFindings) -> Section:
    rows = [
        [text(f.what), text(f.severity, "bad" if f.severity == "error" else "warn"),
         count(f.count), text("; ".join(f.reasons or f.places), "words")]
        for f in checked.findings
    ]  # fmt: skip
    header = ["what", "kind", "how many", "first ones"]
    parts: list[Part] = [PageTable("Found", header, rows)] if rows else []
    return Section("Findings", [*parts, *map(Words, checked.notes)])


def _counts(checked: DataFindings) -> Section:
    sources = sorted({source for *_, source in checked.cells})
    keys = list(dict.fromkeys((s, g, label) for s, g, label, _ in checked.cells))
    rows = []
    for split, group, label in keys:
        cells = [checked.cells.get((split, group, label, source), 0) for source in sources]
        rows.append([text(f"{split}: {group}, {label}"), *map(count, cells), count(sum(cells))])
    header = ["split: group, label", *sources, "all"]
    return Section("Group, label and source", [PageTable("Posts", header, rows)] if rows else [])


def _power(checked: DataFindings) -> Section:
    rows = [
        [text(f"{p.split}: {p.group}, {p.label}"), count(p.n), value(p.rate), value(p.gap)]
        for p in checked.power
    ]
    note = (
        f"Half-widths of 95 % intervals at an error rate of {PLANNED_RATE}: false-positive rate "
        "of normal posts, false-negative rate of hateful ones."
    )
    header = ["posts", "n", "+- of a rate", "+- of a difference"]
    return Section("What they can show", [PageTable("Power", header, rows, note)] if rows else [])


def _lengths(checked: DataFindings) -> Section:
    if not sum(checked.lengths.values()):
        return Section("Length", [])
    drawing = figures.histogram(checked.lengths, f"length in {checked.unit}")
    parts: list[Part] = [Figure(drawing, f"Length in {checked.unit}. {checked.measured}")]
    if checked.overflow:
        rows = [
            [text(group), count(over), count(of), TableCell(percent(over / of), over / of)]
            for group, (over, of) in checked.overflow.items()
        ]
        parts.append(
            PageTable("Rows that are cut, by group", ["group", "cut", "of", "share"], rows)
        )
    return Section("Length", parts)
