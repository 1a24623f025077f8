from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions

from hsd.metrics.classification import ConfusionMatrix, count
from hsd.metrics.groups import by_group, by_persona
from hsd.metrics.outcomes import outcomes, unreadable_p

NAMES = ["lgbtq", "mexican", "middle_east", "other"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from("hn"), st.sampled_from(["h", "n", "refusal"])
    ),
    min_size=1,
    max_size=60,
)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(" ".join(row) for row in rows)


def test_a_group_without_normal_texts_has_no_false_positive_rate() -> None:
    groups = by_group(
        predictions("""
            lgbtq   h h
            lgbtq   h n
            mexican n h
        """)
    )
    assert groups["lgbtq"].counts.false_positive_rate is None
    assert groups["lgbtq"].counts.false_negative_rate == 1 / 2
    assert groups["mexican"].counts.false_positive_rate == 1.0


def test_a_post_about_two_groups_counts_in_both() -> None:
    groups = by_group(predictions("lgbtq+mexican n h\nlgbtq n n"))
    assert groups["lgbtq"].counts == ConfusionMatrix(fp=1, tn=1)
    assert groups["mexican"].counts == ConfusionMatrix(fp=1)


def test_a_group_named_twice_in_a_row_is_one_membership() -> None:
    assert by_group(predictions("lgbtq+lgbtq n n"))["lgbtq"].counts.n == 1


def test_posts_about_nobody_stand_under_none_and_last() -> None:
    groups = by_group(predictions("- n n\nzebra n n\nmexican h h\nlgbtq h h"))
    assert list(groups) == ["lgbtq", "mexican", "zebra", "none"]


def test_an_unread_reply_is_an_error_of_its_group_and_is_counted_there() -> None:
    group = by_group(predictions("lgbtq n refusal\nlgbtq n n"))["lgbtq"]
    assert group.counts.false_positive_rate == 1 / 2
    assert group.outcomes.unreadable == 1


def test_personas_are_one_a_post() -> None:
    personas = by_persona(predictions("lgbtq+mexican n h\n- n n"))
    assert {name: p.counts.n for name, p in personas.items()} == {"lgbtq_persona": 1, "none": 1}


def test_a_rate_over_few_posts_is_not_estimable_and_not_zero() -> None:
    rows = ["lgbtq n n"] * 5 + ["mexican n n"] * 4
    groups = by_group(predictions("\n".join(rows)))
    assert groups["lgbtq"].rate("false_positive_rate") == 0.0
    few = groups["mexican"].share("false_positive_rate")
    assert (few.value, few.interval, few.n) == (None, None, 4)
    assert groups["lgbtq"].rate("false_negative_rate") is None


def test_precision_and_selection_rate_are_hand_computed() -> None:
    rows = ["lgbtq h h"] * 4 + ["lgbtq n h"] * 2 + ["lgbtq n n"] * 3 + ["lgbtq n refusal"]
    group = by_group(predictions("\n".join(rows)))["lgbtq"]
    assert group.share("selection_rate").value == 6 / 10  # a refusal calls nothing hate
    assert group.share("precision").value == 4 / 7  # but it is a false alarm in the headline


def test_unread_replies_that_go_with_a_group_are_a_finding_and_one_of_few_is_none() -> None:
    def p(*rows: tuple[str, int]) -> float | None:
        return unreadable_p(predictions("\n".join(row for row, n in rows for _ in range(n))))

    often = p(("lgbtq n refusal", 15), ("lgbtq n n", 85), ("mexican n n", 100))
    assert often is not None
    assert often <= 0.001
    once = p(("lgbtq n refusal", 1), ("lgbtq n n", 4), ("mexican n n", 500))
    assert once == pytest.approx(5 / 505, abs=0.005)  # Fisher's exact p
    assert p(("lgbtq n n", 9), ("mexican n n", 9)) is None
    assert p(("lgbtq n refusal", 9), ("lgbtq n n", 9)) is None


def test_outcomes_name_every_kind_also_those_that_never_came() -> None:
    found = outcomes(predictions("- h h\n- n refusal\n- n truncated\n- n n"))
    assert found.counts == {"valid": 2, "repaired": 0, "refusal": 1, "truncated": 1, "invalid": 0}
    assert found.unreadable_rate == 1 / 2
    assert found.rate("refusal") == 1 / 4
    assert outcomes([]).unreadable_rate is None
    assert outcomes([]).rate("valid") is None


@given(ROWS)
def test_counts_of_single_memberships_add_up_to_the_whole(rows: list[tuple[str, ...]]) -> None:
    made = predictions(table(rows))
    parts = [group.counts for group in by_group(made).values()]
    assert sum(parts, ConfusionMatrix()) == count(made)


@given(ROWS, st.permutations(NAMES))
def test_renaming_groups_renames_the_results_and_nothing_else(
    rows: list[tuple[str, ...]], names: list[str]
) -> None:
    renamed = dict(zip(NAMES, names, strict=True))
    before = by_group(predictions(table(rows)))
    after = by_group(predictions(table([(renamed[g], t, c) for g, t, c in rows])))
    assert {renamed[name]: g.counts for name, g in before.items()} == {
        name: g.counts for name, g in after.items()
    }


@given(ROWS, st.randoms())
def test_the_order_of_rows_changes_no_group(rows: list[tuple[str, ...]], random: Random) -> None:
    made = predictions(table(rows))
    shuffled = list(made)
    random.shuffle(shuffled)
    before, after = by_group(made), by_group(shuffled)
    assert list(before) == list(after)
    assert before == after


@given(ROWS)
def test_duplicating_every_row_changes_no_rate(rows: list[tuple[str, ...]]) -> None:
    once, twice = by_group(predictions(table(rows))), by_group(predictions(table(rows + rows)))
    for name, group in once.items():
        assert group.counts.false_positive_rate == twice[name].counts.false_positive_rate
        assert group.counts.false_negative_rate == twice[name].counts.false_negative_rate
