"""When a sweep will have ended: from what runs and what has run."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.terminal.progress_table import clock, rate
from slurm.run.element_state import NEVER, NOT_SUBMITTED, Element
from slurm.watch.finish import SweepFinish, sweep_finish
from slurm.watch.overview import Line
from slurm.watch.stage_progress import StageProgress

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def line(text: str, left_s: float | None = None, reason: str = "", start: str = "") -> Line:
    """Return `a train running 600` as a line: cell, stage, state, seconds used."""
    cell, stage, state, *used = text.split()
    seconds = int(used[0]) if used else None
    element = Element(stage, cell, "1_0", state, reason, used_s=seconds, expected_start=start)
    told = None if left_s is None else StageProgress(1, 2, "steps", left_s, 0.1)
    return Line(element, told)


def finish(*lines: Line) -> SweepFinish:
    """Return the finish of a sweep of which each cell is what its last line says."""
    return sweep_finish(lines, {one.element.cell: one.element.state for one in lines}, NOW)


def test_the_last_one_takes_its_turn_behind_what_runs() -> None:
    found = finish(
        line("a train done 1000"),
        line("b train running 400", left_s=600),
        line("c train waiting"),
        line("d train waiting"),
    )
    assert (found.done, found.total, found.at_once) == (1, 4, 1)
    assert found.left_s == 600 + 1000 + 1000


def test_as_many_run_at_once_as_now() -> None:
    found = finish(
        line("a train running 400", left_s=600),
        line("b train running 400", left_s=600),
        line("c train waiting"),
        line("d train waiting"),
    )
    assert found.left_s == (600 + 600 + 1000 + 1000) / 2


def test_a_cell_s_stages_come_one_after_another() -> None:
    found = finish(
        line("a train done 100"),
        line("a evaluate done 50"),
        line("b train running 10", left_s=5000),
        line("c train running 10", left_s=10),
        line("b evaluate waiting"),
    )
    assert found.left_s == 5000 + 50


def test_a_stage_that_nobody_has_seen_has_no_end() -> None:
    found = finish(line("a train running 10", left_s=60), line("a evaluate waiting"))
    assert found.left_s is None


def test_nothing_ends_while_nothing_runs() -> None:
    assert finish(line("a train done 10"), line("b train waiting")).left_s is None


def test_nobody_knows_the_end_while_cells_are_not_submitted() -> None:
    lines = [line("a train done 1000"), line("b train running 400", left_s=600)]
    states = {"a": "done", "b": "running", "c": NOT_SUBMITTED}
    found = sweep_finish(lines, states, NOW)
    assert (found.done, found.total, found.left_s) == (1, 3, None)


def test_what_can_never_start_is_not_waited_for() -> None:
    never = line("b evaluate waiting", reason=NEVER)
    assert finish(line("a train running 10", left_s=60), never).left_s == 60


def test_what_starts_late_ends_late() -> None:
    at = (NOW + timedelta(hours=5)).astimezone().replace(tzinfo=None).isoformat()
    found = finish(line("a train running 400", left_s=600), line("b train waiting", start=at))
    assert found.left_s == 5 * 3600 + 1000


def test_of_several_sets_the_first_does_not_tell_the_end() -> None:
    several = Line(
        Element("evaluate", "a", "1_0", "running", used_s=10),
        StageProgress(1, 2, "rows", 60.0, 0.1, part=1, parts=2),
    )
    assert finish(several).left_s is None


@pytest.mark.parametrize(
    ("per_s", "text"),
    [(1234.5, "1,234 rows/s"), (1, "1.0 rows/s"), (0.5, "30.0 rows/min"), (0.001, "3.6 rows/h")],
)
def test_a_rate_can_be_read(per_s: float, text: str) -> None:
    assert rate(per_s, "rows") == text


@pytest.mark.parametrize(("days", "text"), [(0, "12:00"), (1, "Sat 12:00"), (30, "27 Dec 12:00")])
def test_a_time_to_come_says_its_day_where_that_is_another(days: int, text: str) -> None:
    assert clock(NOW + timedelta(days=days), NOW) == text
