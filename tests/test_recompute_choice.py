"""Whether activations are computed again: by plan on a CPU, by rehearsal on a GPU."""

import pytest

from hsd.training.recompute_choice import Recompute, Rehearsed, by_plan, by_rehearsal

BOTH, ONE, NONE = Rehearsed(1.0, 1.4), Rehearsed(None, 1.5), Rehearsed(None, None)


@pytest.mark.parametrize(
    ("every", "on"),
    [
        ([BOTH], False),
        ([Rehearsed(1.5, 1.4)], True),  # faster where larger pieces fit a cache
        ([ONE], True),
        ([BOTH, ONE], True),  # what does not fit on one process fits on none
        ([BOTH, Rehearsed(2.0, 1.0)], True),  # all of them wait for the slowest
        ([Rehearsed(1.0, None)], False),
    ],
)
def test_the_faster_way_that_fits_everywhere_is_taken(every: list[Rehearsed], on: bool) -> None:
    chosen = by_rehearsal(every)
    assert chosen is not None
    assert chosen.on is on


@pytest.mark.parametrize("every", [[NONE], [BOTH, NONE], [ONE, Rehearsed(1.0, None)]])
def test_where_neither_way_fits_nothing_is_chosen(every: list[Rehearsed]) -> None:
    assert by_rehearsal(every) is None


def test_a_run_that_kept_its_activations_goes_on_so_where_they_fit() -> None:
    slower_now = by_rehearsal([Rehearsed(2.0, 1.0)], began_kept=True)
    assert slower_now == Recompute(False, "as since this run began", 2.0, 1.0)
    smaller_gpu = by_rehearsal([ONE], began_kept=True)
    assert smaller_gpu is not None
    assert smaller_gpu.on


def test_both_times_are_said() -> None:
    chosen = by_rehearsal([BOTH])
    assert chosen is not None
    assert chosen.sentence == (
        "Activations are kept: the largest piece fits (1 s, the other way 1.4 s)."
    )
    assert chosen.facts()["seconds_recomputed"] == 1.4


@pytest.mark.parametrize(("memory_gb", "on"), [(None, False), (8.0, False), (2.0, True)])
def test_on_a_cpu_what_fits_by_the_plan_is_kept(memory_gb: float | None, on: bool) -> None:
    assert by_plan(need_gb=3.0, memory_gb=memory_gb).on is on
