"""A sweep's cells side by side, on every set: what is done as numbers, what is not as a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.errors import ConfigError, EvaluationError, PreflightError, did_you_mean
from hsd.metrics.classification import METRIC_NAMES
from hsd.metrics.evaluation import Evaluation, summarize
from hsd.report.comparison import RunsComparison, compare_named, comparison_markdown
from hsd.report.markdown import markdown_table
from hsd.report.numbers import SCHEMA, evaluation_numbers
from hsd.report.predictions import find_run, load_run
from hsd.report.wording import METRIC_WORDS, number
from hsd.runs import write_atomic, write_json
from slurm.overview import Overview, overview
from slurm.plan import BASELINE
from slurm.run_folder import RunFolder, whole_stage

SHOWN = ("macro_f1", "f1", "auroc", "accuracy")
SORT = "macro_f1"
HEADER = ("cell", "posts", *(METRIC_WORDS[name] for name in SHOWN), "highest FPR", "highest FNR")


@dataclass(frozen=True, slots=True)
class Place:
    """One cell on one set: its evaluation, or why there is none."""

    cell: str
    data_file: str
    folder: Path | None = None
    evaluation: Evaluation | None = None
    reason: str = ""

    def value(self, metric: str) -> float | None:
        """Return a headline metric, None where there is no evaluation or no denominator."""
        found = getattr(self.evaluation.headline, metric) if self.evaluation else None
        return None if found is None else float(found)


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The places by set, best first, the unfinished last; and each finished cell's comparison."""

    name: str
    places: dict[str, list[Place]]
    comparisons: dict[str, RunsComparison]

    @property
    def missing(self) -> list[Place]:
        """The places without an evaluation."""
        return [p for places in self.places.values() for p in places if p.evaluation is None]

    def numbers(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "sets": {
                data_file: {
                    "cells": [_numbers(place) for place in places],
                    "comparisons": self.comparisons[data_file].numbers()["comparisons"]
                    if data_file in self.comparisons
                    else [],
                }
                for data_file, places in self.places.items()
            },
        }


def leaderboard(folder: RunFolder, sort: str = SORT) -> Leaderboard:
    """Return how the cells of a run stand by their evaluations; only its files are read.

    Raises ConfigError for an unknown metric to sort by, PreflightError for another kind of run.
    """
    if sort not in METRIC_NAMES:
        raise ConfigError(f"--sort {sort}: no such metric.{did_you_mean(sort, METRIC_NAMES)}")
    facts = folder.facts()
    if "sweep" not in facts:
        raise PreflightError(
            f"{folder.path}: one {facts.get('kind')}, not a sweep; name the folders of two "
            "evaluations, or the run of a sweep."
        )
    seen = overview(folder.path, None, folder.name, folder.name)
    sets: list[str] = facts["sweep"]["evaluate"]["sets"]
    bases = [cell for cell in seen.states if _is_base(cell)]
    cells = [*bases, *folder.cell_names()]
    places = {
        data_file: _sorted([_place(folder, seen, cell, data_file) for cell in cells], sort)
        for data_file in sets
    }
    compared = {one: _compared(places[one], bases) for one in sets}
    return Leaderboard(folder.name, places, {k: v for k, v in compared.items() if v is not None})


def rows(places: Sequence[Place]) -> list[tuple[str, ...]]:
    """Return one row a cell, under HEADER."""
    return [_row(place) for place in places]


def write_leaderboard(path: Path, board: Leaderboard) -> None:
    """Write a Markdown page and JSON beside it, whichever of the two `path` names.

    Raises EvaluationError for another ending.
    """
    if path.suffix not in (".md", ".json"):
        raise EvaluationError(f"{path}: a comparison is written as .md or .json.")
    write_atomic(path.with_suffix(".md"), markdown(board))
    write_json(path.with_suffix(".json"), board.numbers())


def markdown(board: Leaderboard) -> str:
    """Return the leaderboard and every comparison as a Markdown page."""
    parts = [f"# Cells of {board.name}"]
    for data_file, places in board.places.items():
        parts += [f"## On {data_file}", markdown_table(HEADER, rows(places))]
        reasons = [f"- {place.cell}: {place.reason}" for place in places if place.reason]
        parts += ["\n".join(reasons)] if reasons else []
        if data_file in board.comparisons:
            page = comparison_markdown(board.comparisons[data_file])
            parts.append(
                page.replace("\n## ", "\n### ").replace("# Comparison of", "## Comparison of", 1)
            )
    return "\n\n".join(parts).rstrip() + "\n"


def _is_base(cell: str) -> bool:
    return whole_stage(cell) == BASELINE  # a second base is called baseline-2


def _place(folder: RunFolder, seen: Overview, cell: str, data_file: str) -> Place:
    stage = BASELINE if _is_base(cell) else "evaluate"
    if not folder.done(cell, stage).exists():
        return Place(cell, data_file, reason=_reason(seen, cell))
    found = find_run(folder.evaluate(cell, data_file))
    return Place(cell, data_file, found, summarize(load_run(found).predictions))


def _reason(seen: Overview, cell: str) -> str:
    """Return the first stage that is not done, how it stands, and why."""
    for line in sorted(seen.lines, key=lambda line: line.place):
        element = line.element
        if element.cell == cell and element.state != "done":
            why = line.cause.words if line.cause else element.reason
            return f"{line.stage} {element.state}" + (f": {why}" if why else "")
    return "not evaluated yet"


def _sorted(places: list[Place], metric: str) -> list[Place]:
    def key(place: Place) -> tuple[bool, float]:
        value = place.value(metric)
        return value is None, -(value or 0.0)

    return sorted(places, key=key)


def _compared(places: Sequence[Place], bases: Sequence[str]) -> RunsComparison | None:
    """Return every finished cell against the base, or against the first where there is none."""
    folders = {place.cell: place.folder for place in places if place.folder is not None}
    first = {base: folders.pop(base) for base in bases if base in folders}
    return compare_named(first | folders) if len(first | folders) > 1 else None


def _row(place: Place) -> tuple[str, ...]:
    if place.evaluation is None:
        return (place.cell, *(number(None) for _ in HEADER[1:]))
    groups = place.evaluation.groups
    return (
        place.cell,
        str(place.evaluation.headline.counts.n),
        *(number(place.value(name)) for name in SHOWN),
        _highest({name: g.counts.false_positive_rate for name, g in groups.items()}),
        _highest({name: g.counts.false_negative_rate for name, g in groups.items()}),
    )


def _highest(rates: dict[str, float | None]) -> str:
    """Return the group with the highest rate, and the rate."""
    known = {name: rate for name, rate in rates.items() if rate is not None}
    if not known:
        return ""
    worst = max(known, key=lambda name: known[name])
    return f"{number(known[worst])} {worst}"


def _numbers(place: Place) -> dict[str, Any]:
    if place.evaluation is None:
        return {"cell": place.cell, "missing": place.reason}
    numbers = evaluation_numbers(place.evaluation, {})
    return {"cell": place.cell, "folder": str(place.folder), **numbers}
