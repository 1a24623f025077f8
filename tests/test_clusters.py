from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions

from hsd.metrics.bootstrap import metric_intervals
from hsd.metrics.clusters import design_effect, is_clustered, units
from hsd.metrics.groups import by_group
from hsd.metrics.headline import headline_intervals
from hsd.metrics.intervals import wilson

HITS = st.lists(st.sampled_from([0, 1]), min_size=2, max_size=40)


@given(HITS)
def test_rows_apart_have_no_design_effect(hits: list) -> None:
    assert design_effect(hits, [str(k) for k in range(len(hits))]) == 1.0


@given(HITS, st.integers(2, 5))
def test_copies_of_rows_tell_no_more_than_the_rows(hits: list, copies: int) -> None:
    names = [str(k) for k in range(len(hits))] * copies
    effect = design_effect(hits * copies, names)
    assert 1 <= effect <= copies * (1 + 1e-9) * len(hits) / (len(hits) - 1)
    if len(set(hits)) == 1:
        assert effect == copies


def test_the_design_effect_is_the_variance_over_units_to_that_over_rows() -> None:
    hits, names = [1, 1, 1, 0, 0, 0, 1, 0], list("aaabbbcd")
    rest = np.array(hits) - 0.5
    together = (1.5**2 + 1.5**2 + 0.5**2 + 0.5**2) * 4 / 3
    assert design_effect(hits, names) == pytest.approx(together / ((rest**2).sum() * 8 / 7))


def test_intervals_of_clustered_posts_are_wide() -> None:
    rows = predictions("\n".join(["lgbtq n n", "lgbtq h h", "lgbtq n h", "lgbtq h n"] * 30))
    shared = [replace(p, cluster=f"t{k // 20}") for k, p in enumerate(rows)]
    turned = [replace(p, label="hate" if p.cluster in {"t0", "t1"} else "normal") for p in shared]
    rate = by_group(turned)["lgbtq"].share("false_positive_rate")
    alone = wilson(rate.hits, rate.n)
    assert rate.interval.low < alone.low
    assert rate.interval.high > alone.high
    assert is_clustered(turned)
    assert len(set(units(turned))) == 6
    assert headline_intervals(turned) == metric_intervals(turned)


def test_a_cluster_of_one_changes_nothing() -> None:
    rows = predictions("\n".join(["lgbtq n n", "lgbtq h h", "lgbtq n h"] * 9))
    named = [replace(p, cluster=p.id) for p in rows]
    assert by_group(named) == by_group(rows)
    assert headline_intervals(named)["accuracy"] == headline_intervals(rows)["accuracy"]
