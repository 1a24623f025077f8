"""When a run stops early and which adapter it keeps, as tables of validation losses."""

import pytest

from hsd.training.early_stopping import best_step, should_stop


def evaluations(losses: str, every: int = 10) -> list[tuple[int, float]]:
    """Read `.9 .8` as losses at steps 10 and 20."""
    return [(every * n, float(loss)) for n, loss in enumerate(losses.split(), start=1)]


@pytest.mark.parametrize(
    ("losses", "min_delta", "best"),
    [
        (".9", 0, 10),
        (".9 .8 .7", 0, 30),
        (".9 .7 .8", 0, 20),
        (".9 .7 .7", 0, 20),  # as good is not better
        (".9 .7 .69", 0.05, 20),
        (".9 .7 .69 .64", 0.05, 40),  # small gains add up against the last that counted
        (".9 .86 .82 .78", 0.05, 30),
    ],
)
def test_the_best_step_has_the_lowest_loss_by_more_than_min_delta(
    losses: str, min_delta: float, best: int
) -> None:
    assert best_step(evaluations(losses), min_delta) == best


def test_before_the_first_evaluation_nothing_is_best_and_nothing_stops() -> None:
    assert best_step([]) is None
    assert not should_stop([], patience=1)


@pytest.mark.parametrize(
    ("losses", "patience", "stops"),
    [
        (".9", 10, False),
        (".9 .9", 10, True),
        (".9 .8", 10, False),
        (".9 .95 .8", 20, False),  # better in the last moment
        (".9 .95 .95", 20, True),
        (".9 .95 .95", 21, False),
        (".9 .5 .6 .7", 20, True),
        (".9 .5 .6 .4 .5", 20, False),
    ],
)
def test_a_run_stops_after_patience_steps_without_a_better_loss(
    losses: str, patience: int, stops: bool
) -> None:
    assert should_stop(evaluations(losses), patience) is stops


def test_gains_smaller_than_min_delta_do_not_keep_a_run_going() -> None:
    falling = evaluations(".900 .899 .898 .897")
    assert not should_stop(falling, patience=20)
    assert should_stop(falling, patience=20, min_delta=0.01)


def test_patience_counts_steps_not_evaluations() -> None:
    uneven = [(5, 0.5), (6, 0.6), (7, 0.6), (15, 0.6)]
    assert [should_stop(uneven[:n], patience=10) for n in (2, 3, 4)] == [False, False, True]
