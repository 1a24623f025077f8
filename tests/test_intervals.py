import pytest
from hypothesis import given
from hypothesis import strategies as st
from present import present

from hsd.metrics.intervals import mcnemar, paired_rate, sign_flips, wilson


def test_wilsons_interval_is_the_textbook_one() -> None:
    # Newcombe (1998), Table I: 81 of 263 and 1 of 29, method 3.
    found = present(wilson(81, 263))
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    found = present(wilson(1, 29))
    assert (round(found.low, 4), round(found.high, 4)) == (0.0061, 0.1718)


def test_no_rows_have_no_interval() -> None:
    assert wilson(0, 0) is None
    assert paired_rate(0, 0, 0) is None


def test_mcnemars_exact_p_is_the_binomial_one() -> None:
    assert mcnemar(0, 3) == pytest.approx(0.25)  # 2 * (1/2)**3
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(5, 5) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_flipping_single_rows_is_mcnemars_test(risen: int, fallen: int) -> None:
    flips = sign_flips([1] * risen + [0, 0] + [-1] * fallen)
    assert flips == pytest.approx(mcnemar(risen, fallen), abs=1e-12)


def test_units_are_flipped_whole() -> None:
    # 5 + 3 - 1 = 7 of sums +-9, +-7, +-3, +-1, each of 1 in 8: 9 and 7 are as far out.
    assert sign_flips([5, 3, -1]) == pytest.approx(4 / 8)
    assert sign_flips([20, 20]) == pytest.approx(2 / 4)


def test_runs_that_disagree_nowhere_give_no_evidence() -> None:
    assert mcnemar(0, 0) == 1.0


def test_no_change_in_few_rows_is_not_certainty() -> None:
    few, many = paired_rate(0, 0, 10), paired_rate(0, 0, 1000)
    assert few is not None
    assert many is not None
    assert few.low < -0.1 < 0.1 < few.high
    assert many.high < 0.01


def test_the_paired_interval_is_bonett_and_prices() -> None:
    # (risen + 1, fallen + 1) / (n + 2) = 13/52, 3/52: difference 10/52, by hand.
    found = paired_rate(12, 2, 50)
    half = 1.959964 * ((16 / 52 - (10 / 52) ** 2) / 52) ** 0.5
    assert found is not None
    assert found.low == pytest.approx(10 / 52 - half, abs=1e-6)
    assert found.high == pytest.approx(10 / 52 + half, abs=1e-6)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_does_not_care_which_run_comes_first(a: int, b: int) -> None:
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a))
    assert 0 < mcnemar(a, b) <= 1


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_exchanging_the_runs_mirrors_the_interval(risen: int, fallen: int, same: int) -> None:
    n = risen + fallen + same
    there, back = paired_rate(risen, fallen, n), paired_rate(fallen, risen, n)
    if n == 0:
        assert there is back is None
        return
    assert there is not None
    assert back is not None
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


@given(st.integers(1, 60), st.data())
def test_wilsons_interval_holds_the_rate_and_stays_inside_0_and_1(
    n: int, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, n))
    found = wilson(hits, n)
    assert found is not None
    assert 0 <= found.low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= found.high <= 1
