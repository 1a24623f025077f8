"""What the planner weighs pieces by is fitted to timings, and a disturbed clock is no answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.training.planner_costs import (
    LEAST_CALL,
    MOST_CALL,
    MOST_SLOWNESS,
    PlannerCosts,
    TimedPiece,
    fitted,
)

SHARE = 3e-4
SIZES = ((64, 64 * 64), (1024, 16 * 64 * 64), (1024, 1024 * 1024))
"""Tokens and pairs of a short piece, and of the same rows padded and packed."""


def timed(call: float, slowness: float, token: float, noise: tuple[float, ...]) -> PlannerCosts:
    pieces = [
        TimedPiece(n, m, token * (call + n + slowness * SHARE * m) * factor)
        for (n, m), factor in zip(SIZES, noise, strict=True)
    ]
    return fitted(pieces, SHARE)


@pytest.mark.parametrize("call", [16.0, 64.0, 512.0])
@pytest.mark.parametrize("slowness", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("token", [1e-5, 4e-3])
def test_costs_are_those_that_made_the_times(call: float, slowness: float, token: float) -> None:
    assert timed(call, slowness, token, (1, 1, 1)) == PlannerCosts(call, slowness)


@given(noise=st.tuples(*[st.floats(0.97, 1.03)] * 3))
def test_a_clock_that_is_off_a_little_gives_the_same_costs(noise: tuple[float, ...]) -> None:
    assert timed(512.0, 2.0, 1e-4, noise) == PlannerCosts(512.0, 2.0)


@given(seconds=st.tuples(*[st.floats(1e-6, 10)] * 3))
def test_any_times_give_costs_that_a_plan_can_use(seconds: tuple[float, ...]) -> None:
    pieces = [TimedPiece(n, m, s) for (n, m), s in zip(SIZES, seconds, strict=True)]
    costs = fitted(pieces, SHARE)
    assert costs == PlannerCosts() or LEAST_CALL <= costs.call_tokens <= MOST_CALL
    assert 0 < costs.pair_slowness <= MOST_SLOWNESS


def test_times_that_make_no_sense_leave_the_usual_costs() -> None:
    pieces = [TimedPiece(n, m, s) for (n, m), s in zip(SIZES, (3.0, 2.0, 1.0), strict=True)]
    assert fitted(pieces, SHARE) == PlannerCosts()
