"""How a run stands, on a terminal and as JSON: a line a cell, then causes with the next command."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hsd.counted import counted
from jobs.terminal.console import escape
from jobs.terminal.plain_tables import plain_table
from jobs.terminal.progress_table import (
    duration,
    finish_json,
    progress_json,
    progress_parts,
    start_words,
)
from slurm.run.element_state import NOT_SUBMITTED, Element
from slurm.run.run_folder import ALL
from slurm.watch.causes import Cause
from slurm.watch.overview import Line, Overview
from slurm.watch.stage_progress import StageProgress

_COLOURS = {
    "done": "green",
    "running": "cyan",
    "stopping": "yellow",
    "requeued": "yellow",
    "held": "yellow",
    "failed": "bold red",
    "cancelled": "red",
    "unknown": "magenta",
}
_LONGEST_REASON = 14
_REASONS = (
    (re.compile(r"^Dependency$"), ""),  # what it waits for stands beside it
    (re.compile(r"^DependencyNeverSatisfied$"), "stuck"),
    (re.compile(r"^(Resources|Priority|JobArrayTaskLimit)$"), "queue"),
    (re.compile(r"^(QOS|Assoc|MaxJobs)"), "quota"),
    (re.compile(r"^BeginTime$"), "soon"),
)
"""SLURM's reasons in a word, so that a cell fits a line; --json has them as they are."""
_QUIET = {"waiting": 1, NOT_SUBMITTED: 1, "done": 2, "cancelled": 2}
"""States of cells that need no line of their own where there is no room, the first ones first."""
_COLUMNS = {"baseline": "evaluate"}
"""The untouched base is evaluated like the others: its stage has no column of its own."""


def status_table(overview: Overview, most: int | None = None) -> RenderableType:
    """Return a line for each cell, what runs, what failed or waits, and what to type.

    Of more than `most` cells those that nothing happens to are counted.
    """
    columns = _columns(overview.lines)
    table = plain_table("")
    for name in ("cell", *columns):
        table.add_column(name, overflow="fold")
    by_cell = _by_cell(overview)
    comparison = by_cell.pop(ALL, {})
    shown = _shown_cells(overview, list(by_cell), most)
    for cell in shown:
        lines = by_cell[cell]
        table.add_row(Text(cell), *(_shown(lines.get(column)) for column in columns))
    return Group(
        Text(_headline(overview), style="bold"),
        table,
        *_others(overview, [cell for cell in by_cell if cell not in shown]),
        *progress_parts(overview),
        *(Text.assemble(f"{line.stage}: ", _shown(line)) for line in comparison.values()),
        *_causes(overview),
        *(escape(note) for note in overview.notes),
    )


def status_json(overview: Overview) -> dict[str, Any]:
    """Return everything that the table shows, and SLURM's own words."""
    return {
        "run": overview.name,
        "folder": overview.folder,
        "shards": overview.shards,
        "states": dict(Counter(s for cell, s in overview.states.items() if cell != ALL)),
        "cells": [
            {
                "cell": cell,
                "state": overview.states[cell],
                "stages": {line.element.stage: _facts(line) for line in lines.values()},
            }
            for cell, lines in _by_cell(overview).items()
        ],
        "finish": finish_json(overview),
        "notes": list(overview.notes),
    }


def _shown_cells(overview: Overview, cells: list[str], most: int | None) -> dict[str, None]:
    """Return the cells that get a line, in their order; what runs or failed before the rest."""
    if most is None or len(cells) <= most:
        return dict.fromkeys(cells)
    told = set(sorted(cells, key=lambda cell: _QUIET.get(overview.states[cell], 0))[:most])
    return dict.fromkeys(cell for cell in cells if cell in told)


def _others(overview: Overview, cells: Sequence[str]) -> list[RenderableType]:
    counts = Counter(overview.states[cell] for cell in cells)
    said = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    return [Text(f"... and {counted(len(cells), 'cell')} more: {said}")] if cells else []


def _headline(overview: Overview) -> str:
    counts = Counter(state for cell, state in overview.states.items() if cell != ALL)
    if overview.shards > 1:
        done = counts.pop("done", 0)
        rest = "".join(f", {count} {word}" for word, count in counts.most_common())
        return f"{overview.name}: {done} of {overview.shards} shards done{rest}"
    parts = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    return f"{overview.name}: {parts or 'nothing was submitted yet'}"


def _by_cell(overview: Overview) -> dict[str, dict[str, Line]]:
    found: dict[str, dict[str, Line]] = {cell: {} for cell in overview.states}
    for line in overview.lines:
        found[line.element.cell][_column(line)] = line
    return found


def _columns(lines: Sequence[Line]) -> list[str]:
    of_cells = sorted((x for x in lines if x.element.cell != ALL), key=lambda x: x.place)
    return list(dict.fromkeys(map(_column, of_cells)))


def _column(line: Line) -> str:
    return _COLUMNS.get(line.stage, line.stage)


def _shown(line: Line | None) -> Text:
    if line is None:
        return Text("-", style="dim")
    element = line.element
    words = element.state
    if element.state in ("waiting", "requeued") and (reason := _short(element.reason)):
        words += f" ({reason})"
    words += start_words(line)
    words += _how_far(line.progress)
    if element.attempts > 1:
        words += f", try {element.attempts}"
    return Text(words, style=_COLOURS.get(element.state, ""))


def _short(reason: str) -> str:
    for pattern, word in _REASONS:
        if pattern.search(reason):
            return word
    if len(reason) <= _LONGEST_REASON:
        return reason
    return f"{reason[: _LONGEST_REASON - 1].rstrip()}…"


def _how_far(progress: StageProgress | None) -> str:
    if progress is None:
        return ""
    left = "" if progress.left_s is None else f", {duration(progress.left_s)}"
    return f" {progress.done}/{progress.total}{left}"


def _causes(overview: Overview) -> list[RenderableType]:
    grouped = _grouped(overview.lines)
    return [part for cause, told in grouped for part in _cause(cause, told, overview.shards)]


def _grouped(lines: Sequence[Line]) -> list[tuple[Cause, list[Element]]]:
    """Return each cause once, with all it is the cause of: fifty cells may have the same.

    A log to look at is each cell's own; that of the first one will do.
    """
    found: dict[tuple[str, str], tuple[Cause, list[Element]]] = {}
    for line in lines:
        if line.cause and (line.cause.next or line.element.state == "failed"):
            own = f"/{line.element.cell}/{line.element.stage}"
            alike = (line.cause.words, line.cause.next.removesuffix(own))
            found.setdefault(alike, (line.cause, []))[1].append(line.element)
    return list(found.values())


def _cause(cause: Cause, elements: Sequence[Element], shards: int) -> list[RenderableType]:
    who = _named(elements) if shards == 1 or len(elements) == 1 else _numbered(elements, shards)
    parts: list[RenderableType] = [Text(f"{who}: {cause.words}")]
    if cause.next:  # never wrapped: it is to be copied
        parts.append(Text(f"  {cause.next}", style="bold", no_wrap=True, overflow="ignore"))
    return parts


def _named(elements: Sequence[Element]) -> str:
    names = ", ".join(f"{e.cell}/{e.stage}" for e in elements[:3])
    return names + (f" and {len(elements) - 3} more" if len(elements) > 3 else "")


def _numbered(elements: Sequence[Element], shards: int) -> str:
    """Return shards by their numbers: `shards 0-2, 5 of 8`."""
    runs: list[list[int]] = []
    for number in sorted(int(one.cell.split("-")[1]) for one in elements):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"shards {', '.join(words)} of {shards}"


def _facts(line: Line) -> dict[str, Any]:
    facts = asdict(line.element)
    return {
        **{name: facts[name] for name in facts if name not in ("stage", "cell")},
        "progress": progress_json(line),
        "cause": line.cause.words if line.cause else None,
        "next": line.cause.next or None if line.cause else None,
    }
