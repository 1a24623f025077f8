"""When vLLM is believed: numbers alike, calls alike, and all of the adapter's effect."""

from math import nan
from typing import Any

from hsd.evaluation.vllm_check import (
    COARSE,
    EXACT,
    Answered,
    VllmCheck,
    check_answers,
    check_effect_alone,
)

IDS = ["a", "b", "c"]
OWN = Answered([1.0, -2.0, 0.3])
ADAPTED = Answered([1.0, -2.0, 0.3], [0.5, -1.0, 0.2])


def found(own: Answered, served: Answered, allowed: Any = EXACT) -> VllmCheck:
    return check_answers(IDS, own, served, allowed)


def test_the_same_numbers_are_believed() -> None:
    check = found(OWN, OWN)
    assert check.problem is None
    assert (check.effect_rows, check.effect_kept) == (None, None)
    assert found(ADAPTED, ADAPTED).effect_kept == 1


def test_a_median_row_that_is_off_is_a_problem_by_the_bound_of_the_number_format() -> None:
    off = Answered([1.01, -2.02, 0.3])
    assert "in the median row" in str(found(OWN, off).problem)
    assert found(OWN, off, COARSE).problem is None


def test_a_number_that_is_none_is_a_problem() -> None:
    assert found(OWN, Answered([nan, -2.0, 0.3])).problem
    assert found(ADAPTED, Answered([1.0, -2.0, 0.3], [0.5, nan, 0.2])).problem


def test_a_call_that_differs_is_a_problem_unless_it_is_near_one_half() -> None:
    near = Answered([1.0, -2.0, 0.001]), Answered([1.0, -2.0, -0.001])
    assert found(*near).problem is None
    assert found(*near).ties == ["c"]
    far = found(OWN, Answered([1.0, -2.0, -0.3]))
    assert "calls rows (c) otherwise" in str(far.problem)


def test_an_adapter_without_effect_is_ignored_however_near_the_numbers_are() -> None:
    check = found(ADAPTED, Answered([0.5, -1.0, 0.2], [0.5, -1.0, 0.2]))
    assert "vLLM ignores the adapter: in 3 rows" in str(check.problem)


def test_half_of_an_adapter_is_not_the_adapter() -> None:
    check = found(ADAPTED, Answered([0.7, -1.4, 0.24], [0.5, -1.0, 0.2]), COARSE)
    assert "does not have the adapter as it is" in str(check.problem)
    assert "40%" in str(check.problem)


def test_an_adapter_that_changes_no_row_enough_is_said_to_be_untested() -> None:
    small = Answered([1.0, -2.0, 0.3], [1.001, -2.0, 0.3])
    check = found(small, small)
    assert (check.problem, check.effect_rows, check.effect_kept) == (None, 0, None)
    assert "changes none of these rows" in check.sentence()


def test_without_hsds_own_engine_an_adapter_has_to_change_something() -> None:
    same = Answered([1.0, -2.0], [1.0, -2.0])
    assert "the adapter is ignored" in str(check_effect_alone(IDS[:2], same, EXACT).problem)
    assert check_effect_alone(IDS[:2], ADAPTED, EXACT).problem is None
    assert check_effect_alone(IDS, OWN, EXACT).effect_rows is None
