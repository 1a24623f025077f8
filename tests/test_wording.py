"""Numbers in reports: the digits do not hang on a sum's last bit, which differs between CPUs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.report.formatting import number, p_value, percent, signed


def around(edge: float) -> list[float]:
    """Return an edge of rounding and what sums come out as beside it."""
    values = [edge]
    for direction in (-math.inf, math.inf):
        value = edge
        for _ in range(8):
            value = math.nextafter(value, direction)
            values.append(value)
    return values


@given(st.integers(0, 999))
def test_a_number_on_a_rounding_edge_reads_the_same_whatever_its_last_bits(part: int) -> None:
    edge = (part + 0.5) / 1000
    assert len({number(value) for value in around(edge)}) == 1
    assert len({signed(-value) for value in around(edge)}) == 1
    assert len({percent(value) for value in around(edge)}) == 1


@given(st.integers(10, 99), st.sampled_from([1e-2, 1e-3, 1e-4, 1e-5]))
def test_a_p_value_on_a_rounding_edge_reads_the_same_whatever_its_last_bits(
    part: int, scale: float
) -> None:
    assert len({p_value(value) for value in around((part + 0.5) * scale / 10)}) == 1
    assert len({p_value(value) for value in around(1e-4)}) == 1
    assert len({p_value(value) for value in around(0.1)}) == 1


def test_a_number_has_three_decimals_and_no_difference_has_no_sign() -> None:
    assert (number(0.12349), number(None)) == ("0.123", "-")
    assert (signed(-0.0004), signed(0.25), percent(0.1234)) == ("0.000", "+0.250", "12.3 %")


@pytest.mark.parametrize("zero", [-0.0, -0.0004, -1e-12])
def test_no_difference_is_not_below_zero(zero: float) -> None:
    assert (number(zero), signed(zero)) == ("0.000", "0.000")
