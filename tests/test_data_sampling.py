"""Seeded samples keep or even out shares, and do not depend on the order of the rows."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.data.sampling import (
    even_labels,
    group_and_label,
    label_balanced,
    of_sources,
    shares,
    stratified,
)
from hsd.errors import DataError
from hsd.example import Example


def rows(**strata: int) -> list[Example]:
    """Return rows of strata such as `lgbtq_hate=3`."""
    examples = []
    for name, count in strata.items():
        group, _, label = name.rpartition("_")
        for number in range(count):
            examples.append(
                Example(
                    id=f"{name}{number:03d}",
                    text="a",
                    label="hate" if label == "hate" else "normal",
                    groups=(group,) if group != "none" else (),
                )
            )
    return examples


ROWS = rows(lgbtq_hate=40, lgbtq_normal=20, mexican_hate=10, none_normal=30)


def strata(examples: list[Example]) -> dict[str, int]:
    return dict(Counter(map(group_and_label, examples)))


def test_a_stratified_sample_keeps_the_shares() -> None:
    assert strata(stratified(ROWS, 10, seed=1)) == {
        "lgbtq/hate": 4,
        "lgbtq/normal": 2,
        "mexican/hate": 1,
        "none/normal": 3,
    }


def test_a_rare_stratum_is_not_lost() -> None:
    assert strata(stratified(rows(lgbtq_hate=99, mexican_hate=1), 4, seed=1))["mexican/hate"] == 1


def test_a_sample_larger_than_the_rows_is_all_of_them() -> None:
    assert stratified(ROWS, 1000, seed=1) == ROWS
    assert label_balanced(ROWS, 1000, seed=1) == ROWS


@pytest.mark.parametrize("draw", [stratified, label_balanced])
def test_the_same_seed_draws_the_same_rows_in_any_order(
    draw: Callable[..., list[Example]],
) -> None:
    ids = {e.id for e in draw(ROWS, 20, seed=7)}
    assert ids == {e.id for e in draw(ROWS[::-1], 20, seed=7)}
    assert ids != {e.id for e in draw(ROWS, 20, seed=8)}


def test_a_sample_keeps_the_order_of_the_rows() -> None:
    drawn = stratified(ROWS, 20, seed=1)
    assert drawn == [example for example in ROWS if example in drawn]


@pytest.mark.parametrize(("count", "hate", "normal"), [(10, 5, 5), (11, 6, 5), (90, 50, 40)])
def test_a_balanced_sample_halves_labels_until_one_runs_out(
    count: int, hate: int, normal: int
) -> None:
    few_normal = rows(lgbtq_hate=50, lgbtq_normal=40)
    drawn = Counter(e.label for e in label_balanced(few_normal, count, seed=1))
    assert drawn == {"hate": hate, "normal": normal}


def test_labels_are_evened_out_overall_or_within_each_group() -> None:
    uneven = rows(lgbtq_hate=4, lgbtq_normal=2, mexican_hate=1, mexican_normal=5, other_hate=3)
    assert Counter(e.label for e in even_labels(uneven, seed=1)) == {"hate": 7, "normal": 7}
    assert strata(even_labels(uneven, 1, within=lambda e: "|".join(e.groups))) == {
        "lgbtq/hate": 2,
        "lgbtq/normal": 2,
        "mexican/hate": 1,
        "mexican/normal": 1,
    }


@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 60), min_size=1),
    st.integers(0, 200),
)
def test_shares_add_up_and_never_exceed_a_stratum(sizes: dict[str, int], count: int) -> None:
    given_rows = shares(sizes, count)
    assert sum(given_rows.values()) == min(count, sum(sizes.values()))
    assert all(0 <= given_rows[name] <= sizes[name] for name in sizes)
    assert count < len(sizes) or all(given_rows.values())


def test_the_rows_of_named_sources_are_all_of_them_in_their_order() -> None:
    named = ("forum", "chat", "")
    rows = [
        Example(id=str(n), text="post", label="hate", source_dataset=named[n % 3]) for n in range(9)
    ]
    assert of_sources(rows, (), "posts.csv") == rows
    assert [e.id for e in of_sources(rows, ("chat",), "posts.csv")] == ["1", "4", "7"]
    assert of_sources(rows, ("chat", "forum"), "posts.csv") == [e for e in rows if e.source_dataset]
    with pytest.raises(DataError, match="'chta', which no row is of; sources here: chat, forum"):
        of_sources(rows, ("chta",), "posts.csv")
    with pytest.raises(DataError, match="rows have no 'source_dataset'"):
        of_sources(rows[2::3], ("forum",), "posts.csv")
