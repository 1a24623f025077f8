from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from present import present
from scipy.stats import norm, t

from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.clusters import design_effect, is_clustered, units
from hsd.metrics.groups import by_group
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import wilson

HITS = st.lists(st.sampled_from([0, 1]), min_size=2, max_size=40)


@given(HITS)
def test_rows_apart_have_no_design_effect(hits: list[int]) -> None:
    assert design_effect(hits, [str(k) for k in range(len(hits))]) == 1.0


@given(HITS, st.integers(2, 5))
def test_copies_of_rows_tell_no_more_than_the_rows(hits: list[int], copies: int) -> None:
    names = [str(k) for k in range(len(hits))] * copies
    assert design_effect(hits * copies, names) >= copies * (1 - 1e-9)


def test_the_design_effect_is_the_variance_over_units_to_that_over_rows() -> None:
    hits = [1, 1] * 25 + [0, 0] * 25 + [1, 0] * 10
    names = [str(k // 2) for k in range(120)]
    rest = np.array(hits) - 0.5
    together = (rest.reshape(60, 2).sum(axis=1) ** 2).sum() * 60 / 59
    apart = (rest**2).sum() * 120 / 119
    few = (t.ppf(0.975, 59) / norm.ppf(0.975)) ** 2
    assert design_effect(hits, names) == pytest.approx(together / apart * few)


def test_one_unit_is_one_row_and_two_are_less_than_two() -> None:
    assert design_effect([0] * 8, ["a"] * 8) == 8
    assert design_effect([0] * 8, ["a", "b"] * 4) > 4 * 40  # Student's t with one degree


@pytest.mark.parametrize("size", [5, 10])
def test_an_error_more_hardly_ever_narrows_what_is_possible(size: int) -> None:
    """Ten threads: without an error nothing tells how alike posts of a thread are."""
    names = [f"t{k % 10}" for k in range(10 * size)]
    ends = []
    for wrong in range(10):
        hits = [int(k < wrong) for k in range(10 * size)]
        effect = design_effect(hits, names)
        ends.append(present(wilson(wrong / effect, len(hits) / effect)).high)
    assert all(after > before - 0.03 for before, after in pairwise(ends))


def test_intervals_of_clustered_posts_are_wide() -> None:
    rows = predictions("\n".join(["lgbtq n n", "lgbtq h h", "lgbtq n h", "lgbtq h n"] * 30))
    shared = [replace(p, cluster=f"t{k // 20}") for k, p in enumerate(rows)]
    turned = [replace(p, label="hate" if p.cluster in {"t0", "t1"} else "normal") for p in shared]
    rate = by_group(turned)["lgbtq"].share("false_positive_rate")
    alone, clustered = present(wilson(rate.hits, rate.n)), present(rate.interval)
    assert clustered.low < alone.low
    assert clustered.high > alone.high
    assert is_clustered(turned)
    assert len(set(units(turned))) == 6
    found = headline_intervals(turned)
    recall = present(found["recall"])
    assert recall.high - recall.low > 0.6
    assert found["f1"] == metric_intervals(turned)["f1"]


def test_a_cluster_of_one_changes_nothing() -> None:
    rows = predictions("\n".join(["lgbtq n n", "lgbtq h h", "lgbtq n h"] * 9))
    named = [replace(p, cluster=p.id) for p in rows]
    assert by_group(named) == by_group(rows)
    assert headline_intervals(named)["accuracy"] == headline_intervals(rows)["accuracy"]
