"""How far scores move, and whose calls that may turn."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from present import present

from hsd.metrics.score_noise import Noise, near, noise
from hsd.metrics.thresholds import apply_threshold

ROWS = predictions("""
    - h h .9
    - n h .52
    - n n .5
    - n n .46
    - n n .1
""")  # p000 to p004
SCORES = st.floats(0, 1)


def moved(score: float, log_odds: float) -> float:
    return 1 / (1 + exp(-log(score / (1 - score)) - log_odds))


def test_noise_is_how_far_the_same_posts_lie_apart() -> None:
    found = noise({"p000": 0.9, "p002": moved(0.5, 0.1), "p003": 0.44}, ROWS, "bfloat16")
    assert found is not None
    assert (found.dtype, found.posts) == ("bfloat16", 3)
    assert found.largest == pytest.approx(moved(0.5, 0.1) - 0.5)
    assert found.mean == pytest.approx((moved(0.5, 0.1) - 0.5 + 0.02) / 3)
    assert found.largest_log_odds == pytest.approx(0.1)


def test_without_scores_there_is_no_noise() -> None:
    assert noise({}, ROWS, "bfloat16") is None
    assert noise({"another": 0.5}, ROWS, "bfloat16") is None
    assert noise({"p000": 0.5}, predictions("- h h"), "bfloat16") is None


def test_posts_near_a_threshold_are_those_that_the_noise_may_carry_over_it() -> None:
    found = near(ROWS, Noise("bfloat16", 8, 0.0, 0.0, 0.1), 0.5)
    assert found.posts == 2  # .52 and .5 itself; .46 is .16 away in log-odds
    assert found.moves == pytest.approx(moved(0.5, 0.1) - 0.5)
    sure = near(ROWS, Noise("bfloat16", 8, 0.0, 0.0, 0.1), 0.9)
    assert sure.posts == 1
    assert sure.moves < found.moves / 2, "a sure score moves less"


@given(SCORES, SCORES, st.floats(0.001, 0.999))
def test_a_post_whose_call_changed_by_the_noise_is_near(
    one: float, other: float, threshold: float
) -> None:
    alone, together = (predictions(f"- h h {score:.17f}") for score in (one, other))
    found = noise({"p000": present(alone[0].score)}, together, "float32")
    assert found is not None
    if apply_threshold(alone, threshold)[0].label != apply_threshold(together, threshold)[0].label:
        slack = Noise("float32", 1, 0.0, 0.0, found.largest_log_odds + 1e-9)
        assert near(together, slack, threshold).posts == 1


@pytest.mark.parametrize("threshold", [-0.1, 0.0, 1.0])
def test_nobody_is_near_a_threshold_that_calls_all_posts_the_same(threshold: float) -> None:
    assert near(ROWS, Noise("bfloat16", 8, 0.0, 0.0, 9.0), threshold).posts == 0


def test_a_score_of_one_has_too_few_digits_to_say_more() -> None:
    found = noise({"p000": 1.0}, predictions("- h h 0.9999999999999998"), "bfloat16")
    assert found is not None
    assert found.largest_log_odds == 0.0
