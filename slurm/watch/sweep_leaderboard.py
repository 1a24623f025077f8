"""A sweep's cells side by side, on every set: what is done as numbers, what is not as a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.gate_rules import GateRules
from hsd.errors import EvaluationError, PreflightError
from hsd.groups.group_set import GroupSet
from hsd.io.files import write_atomic, write_json
from hsd.io.run_identity import set_name
from hsd.metrics.by_set import BySet, by_set
from hsd.metrics.leaderboard import Entry, Leaderboard
from hsd.metrics.leaderboard import leaderboard as rank
from hsd.prediction import Prediction
from hsd.report.comparison_glance import comparison_badge, sets_badge
from hsd.report.comparison_page import comparison_page, leaderboard_page
from hsd.report.comparison_report import (
    RunsComparison,
    compare_named,
    comparison_markdown,
)
from hsd.report.leaderboard_rows import ranking_header, ranking_rows
from hsd.report.markdown import markdown_cell, markdown_table
from hsd.report.numbers import SCHEMA, board_numbers
from hsd.report.page import Badge, Page, render_page
from hsd.report.predictions import find_evaluation, load_run
from hsd.report.replaceable import require_replaceable
from hsd.report.set_section import by_set_markdown, by_set_numbers, by_set_section
from slurm.run.run_folder import BASELINE, RunFolder, whole_stage
from slurm.watch.overview import Overview, overview

METRIC = "macro_f1"
"""A sweep is ranked by it unless somebody asks for another: both labels count alike."""


@dataclass(frozen=True, slots=True)
class SetBoard:
    """One set: the ranking, failures included, and each cell against the first base."""

    data_file: str
    board: Leaderboard
    compared: RunsComparison | None
    answered: Mapping[str, Sequence[Prediction]]
    """The rows of each cell that is done."""


@dataclass(frozen=True, slots=True)
class SweepBoard:
    """A sweep's cells on each of its sets."""

    name: str
    sets: tuple[SetBoard, ...]
    by_set: BySet | None = None
    """All cells by sets, where there are several sets and any cell is done."""

    def numbers(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            **({"by_set": by_set_numbers(self.by_set)} if self.by_set else {}),
            "sets": {one.data_file: _numbers(one) for one in self.sets},
        }


def sweep_leaderboard(
    folder: RunFolder,
    metric: str | None = None,
    rules: GateRules | None = None,
    groups: GroupSet | None = None,
) -> SweepBoard:
    """Return how the cells of a run stand by their evaluations; only its files are read.

    `rules` test each cell against the base; by default those of the sweep's own [gate]. `groups`
    are those that posts are counted in, by default those of the evaluations. Raises PreflightError
    for another kind of run.
    """
    facts = folder.facts()
    if "sweep" not in facts:
        raise PreflightError(
            f"{folder.path}: one {facts.get('kind')}, not a sweep; name the folders of two "
            "evaluations, or the run of a sweep."
        )
    sweep = facts["sweep"]
    if rules is None and sweep.get("gate") is not None:
        rules = GateRules.model_validate(sweep["gate"])
    seen = overview(folder.path, None, folder.name, folder.name)
    bases = [cell for cell in seen.states if _is_base(cell)]
    cells = [*bases, *folder.cell_names()]
    made = [
        _set_board(folder, seen, cells, data_file, metric or METRIC, rules, groups)
        for data_file in sweep["evaluate"]["sets"]
    ]
    return SweepBoard(folder.name, tuple(made), _by_set(made, cells))


def _by_set(made: Sequence[SetBoard], cells: Sequence[str]) -> BySet | None:
    """Return the cells by sets, the base or else the first one that is done as the reference."""
    done = [cell for cell in cells if any(cell in one.answered for one in made)]
    if len(made) < 2 or not done:
        return None
    return by_set(
        {one.data_file: one.answered for one in made},
        {one.data_file: one.compared.comparisons if one.compared else () for one in made},
        [*done, *(cell for cell in cells if cell not in done)],
    )


def write_leaderboard(path: Path, sweep: SweepBoard) -> None:
    """Write a Markdown page, JSON, and a self-contained HTML page for each set, side by side.

    Raises EvaluationError for an ending that is none of theirs, and where something else is there.
    """
    if path.suffix not in (".md", ".json", ".html"):
        raise EvaluationError(f"{path}: a comparison is written as .html, .md or .json.")
    pages = {
        path.with_name(f"{path.stem}-{set_name(one.data_file)}.html")
        if len(sweep.sets) > 1
        else path.with_suffix(".html"): one
        for one in sweep.sets
    }
    whole = [path.with_suffix(".html")] if sweep.by_set else []
    for file in (path.with_suffix(".md"), path.with_suffix(".json"), *whole, *pages):
        require_replaceable(file)
    write_atomic(path.with_suffix(".md"), markdown(sweep))
    write_json(path.with_suffix(".json"), sweep.numbers())
    if sweep.by_set:
        page = Page(
            f"Cells of {sweep.name}",
            [by_set_section(sweep.by_set)],
            "A page for each set lies beside it.",
            sets_badge({one.data_file: _badge(one) for one in sweep.sets}),
        )
        write_atomic(path.with_suffix(".html"), render_page(page))
    for file, one in pages.items():
        write_atomic(file, _page(sweep.name, one))


def markdown(sweep: SweepBoard) -> str:
    """Return the ranking and every comparison as a Markdown page."""
    parts = [f"# Cells of {markdown_cell(sweep.name)}"]
    parts += ["## By set", by_set_markdown(sweep.by_set)] if sweep.by_set else []
    for one in sweep.sets:
        parts += [
            f"## On {markdown_cell(one.data_file)}, {one.board.n} posts",
            markdown_table(ranking_header(one.board), ranking_rows(one.board)),
        ]
        reasons = [f"- {markdown_cell(f'{e.name}: {e.failure}')}" for e in one.board.failures]
        parts += ["\n".join(reasons)] if reasons else []
        if one.compared:
            page = comparison_markdown(one.compared)
            parts.append("#" + page.replace("\n## ", "\n### "))  # a level below this page's own
    return "\n\n".join(parts).rstrip() + "\n"


def _set_board(
    folder: RunFolder, seen: Overview, cells: Sequence[str], data_file: str, metric: str,
    rules: GateRules | None, groups: GroupSet | None,
) -> SetBoard:  # fmt: skip
    done = {
        cell: find_evaluation(folder.evaluate(cell, data_file))
        for cell in cells
        if folder.done(cell, BASELINE if _is_base(cell) else "evaluate").exists()
    }
    answered = {cell: load_run(run, groups).predictions for cell, run in done.items()}
    reasons = _reasons(seen, [cell for cell in cells if cell not in done])
    entries = [
        Entry(cell, answered[cell]) if cell in done else Entry(cell, failure=reasons[cell])
        for cell in cells
    ]
    bases = [cell for cell in cells if _is_base(cell)]
    # A base that failed gives UNDERPOWERED, since a rise cannot be seen without it.
    reference = next((cell for cell in bases if cell in done), next(iter(bases), None))
    board = rank(entries, metric, reference=reference, rules=rules)
    first = [reference] if reference in done else []
    order = dict.fromkeys([*first, *(one.name for one in board.standings)])
    compared = (
        compare_named({cell: done[cell] for cell in order}, groups=groups)
        if len(done) > 1
        else None
    )
    return SetBoard(data_file, board, compared, answered)


def _is_base(cell: str) -> bool:
    return whole_stage(cell) == BASELINE  # a second base is called baseline-2


def _reasons(seen: Overview, cells: Sequence[str]) -> dict[str, str]:
    """Return of each cell the first stage that is not done, how it stands, and why."""
    found = dict.fromkeys(cells, "not evaluated yet")
    for line in sorted(seen.lines, key=lambda line: -line.place):  # the earliest one is kept
        element = line.element
        if element.cell in found and element.state != "done":
            why = line.cause.words if line.cause else element.reason
            found[element.cell] = f"{line.stage} {element.state}" + (f": {why}" if why else "")
    return found


def _numbers(one: SetBoard) -> dict[str, Any]:
    compared = one.compared.numbers()["comparisons"] if one.compared else []
    return {"leaderboard": board_numbers(one.board), "comparisons": compared}


def _badge(one: SetBoard) -> Badge | None:
    if one.compared is None:
        return None
    return comparison_badge(one.compared.comparisons, one.compared.said())


def _page(name: str, one: SetBoard) -> str:
    if one.compared is None:
        return leaderboard_page(one.board, f"Cells of {name}")
    found = one.compared
    return comparison_page(found.comparisons, found.asked, found.said(), one.board)
