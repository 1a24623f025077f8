import gc
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posts import predictions
from present import present

from hsd.errors import EvaluationError
from hsd.metrics.changes import RateChange
from hsd.metrics.comparison import Comparison, compare, compare_all
from hsd.report.comparison_report import sentences


@pytest.fixture(autouse=True)
def _no_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels' Holm collects garbage at every call: .2 s, hundreds of times here."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


BASE = """
    lgbtq          n n .2
    lgbtq          n h .6
    lgbtq          h n .4
    mexican        n h .7
    mexican        h h .9
    lgbtq+mexican  h refusal .8
"""
OTHER = """
    lgbtq          n h .7
    lgbtq          n h .6
    lgbtq          h h .8
    mexican        n n .1
    mexican        h h .9
    lgbtq+mexican  h h .8
"""
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["lgbtq", "mexican", "-"]),
        st.sampled_from("hn"),
        st.sampled_from(["h", "n", "refusal"]),
        st.sampled_from(["h", "n", "invalid"]),
    ),
    min_size=1,
    max_size=30,
)


def rate(comparison: Comparison, group: str, name: str) -> RateChange:
    (found,) = (c for c in comparison.rates if (c.group, c.rate) == (group, name))
    return found


def metric(comparison: Comparison, name: str) -> tuple[float | None, float | None, float | None]:
    (found,) = (change for change in comparison.metrics if change.name == name)
    return found.reference, found.other, found.difference


def test_a_hand_computed_pair_of_runs() -> None:
    found = compare(predictions(BASE), predictions(OTHER), ("base", "adapter"))
    assert (found.reference, found.other, found.n) == ("base", "adapter", 6)
    assert found.broken == ("p000",)
    assert found.fixed == ("p002", "p003", "p005")
    assert found.p_value == pytest.approx(2 * (1 + 4) / 2**4)
    assert metric(found, "accuracy")[:2] == (2 / 6, 4 / 6)
    assert metric(found, "accuracy")[2] == pytest.approx(2 / 6)
    assert metric(found, "recall")[1] == 1.0
    assert metric(found, "recall")[::2] == pytest.approx((1 / 3, 2 / 3))
    assert metric(found, "auroc")[0] == pytest.approx(7 / 9)


def test_error_rates_change_by_group() -> None:
    found = compare(predictions(BASE * 5), predictions(OTHER * 5))
    lgbtq = rate(found, "lgbtq", "false_positive_rate")
    assert (lgbtq.n, lgbtq.reference, lgbtq.other, lgbtq.difference) == (10, 0.5, 1.0, 0.5)
    mexican = rate(found, "mexican", "false_positive_rate")
    assert (mexican.n, mexican.reference, mexican.other, mexican.difference) == (5, 1.0, 0.0, -1.0)
    both = rate(found, "mexican", "false_negative_rate")
    assert (both.n, both.reference, both.other) == (10, 0.5, 0.0)
    assert rate(found, "all posts", "false_negative_rate").difference == pytest.approx(-2 / 3)


def test_a_rate_of_few_posts_is_not_estimable_and_in_no_family() -> None:
    before = ["lgbtq n n"] * 40 + ["mexican n n"] * 4
    after = ["lgbtq n h"] * 9 + ["lgbtq n n"] * 31 + ["mexican n h"] * 4
    found = compare(predictions("\n".join(before)), predictions("\n".join(after)))
    few = rate(found, "mexican", "false_positive_rate")
    assert (few.n, few.broken, few.reference, few.interval, few.holm_p) == (4, 4, None, None, None)
    known = rate(found, "lgbtq", "false_positive_rate")
    assert known.holm_p == known.p_value == pytest.approx(2 / 2**9)  # a family of one


def test_what_one_of_many_rates_would_do_by_chance_is_no_worse_but_may_be() -> None:
    names = [f"g{number}" for number in range(12)]
    before = [f"{name} n n" for name in names for _ in range(100)]
    after = [f"{name} n {'h' if name == 'g0' and k < 7 else 'n'}" for name in names
             for k in range(100)]  # fmt: skip
    found = compare(predictions("\n".join(before)), predictions("\n".join(after)))
    alone = rate(found, "g0", "false_positive_rate")
    assert present(alone.p_value) < 0.05 < present(alone.holm_p)
    assert (alone.worse, alone.may_be_worse) == (False, True)
    assert [c.group for c in found.may_be_worse] == ["g0"]
    (said,) = [line for line in sentences(found) if line.startswith("May be")]
    assert f"(Holm p = {alone.holm_p:.2f})" in said


def test_groups_that_chance_moves_apart_are_not_said_to_be_further_apart() -> None:
    """The base errs on all normals, so its gap is 0 in every draw, and any other gap is above."""
    names = ["lgbtq", "mexican", "zebra"]
    errors = {"lgbtq": 2, "mexican": 1, "zebra": 3}
    base = [f"{name} n h" for name in names for _ in range(25)]
    other = [f"{name} n {'h' if k < errors[name] else 'n'}" for name in names for k in range(25)]
    found = compare(predictions("\n".join(base)), predictions("\n".join(other)))
    change = found.gaps[0]
    assert change.difference == pytest.approx(0.08)
    assert present(change.interval).low == 0.0
    assert not change.grew
    apart = {"lgbtq": 20, "mexican": 2, "zebra": 2}
    other = [f"{name} n {'h' if k < apart[name] else 'n'}" for name in names for k in range(25)]
    found = compare(predictions("\n".join(base)), predictions("\n".join(other)))
    assert found.gaps[0].grew


def test_what_may_be_worse_for_all_posts_says_its_own_p() -> None:
    before = ["- n n"] * 986 + ["- n h"] * 5 + ["- n n"] * 14
    after = ["- n n"] * 986 + ["- n n"] * 5 + ["- n h"] * 14
    found = compare(predictions("\n".join(before)), predictions("\n".join(after)))
    assert "the exact test leaves it to chance (p = 0.064)" in " ".join(sentences(found))


def test_posts_that_share_a_template_turn_together_and_are_little_evidence() -> None:
    before = predictions("\n".join(["- n n"] * 300))
    clustered = [replace(p, cluster=f"t{k // 20}") for k, p in enumerate(before)]
    turned = {"t0", "t1", "t2"}
    called = [replace(p, label="hate" if p.cluster in turned else "normal") for p in clustered]
    apart = compare(before, [replace(p, cluster="") for p in called])
    together = compare(clustered, called)
    change, alone = (rate(c, "all posts", "false_positive_rate") for c in (together, apart))
    assert change.difference == alone.difference == pytest.approx(0.2)
    assert alone.worse
    assert not change.worse
    assert change.p_value == together.p_value == pytest.approx(2 / 2**3)  # three templates
    assert present(change.interval).low < 0.05 < present(alone.interval).low


def test_a_rise_of_one_group_is_told_though_the_headline_rose() -> None:
    before = ["lgbtq n n"] * 40 + ["mexican h n"] * 90
    after = ["lgbtq n h"] * 20 + ["lgbtq n n"] * 20 + ["mexican h h"] * 90
    found = compare(predictions("\n".join(before)), predictions("\n".join(after)))
    assert present(metric(found, "accuracy")[2]) > 0
    assert ("lgbtq", "false_positive_rate") in [(c.group, c.rate) for c in found.worse]
    assert "mexican" not in [c.group for c in found.worse]


def test_a_group_without_hateful_posts_has_no_false_negative_rate_and_no_change_of_it() -> None:
    change = rate(
        compare(predictions("lgbtq n n"), predictions("lgbtq n h")), "lgbtq", "false_negative_rate"
    )
    assert change.n == 0
    assert change.reference is change.other is change.difference is None
    assert (change.interval, change.p_value) == (None, None)
    assert not change.worse


def test_other_ids_are_refused_with_how_many_and_which() -> None:
    before = predictions(BASE)
    with pytest.raises(EvaluationError) as refused:
        compare(before, before[2:] + [replace(before[0], id="x9")], ("base", "adapter"))
    assert "2 ids only in base (first: p000, p001)" in str(refused.value)
    assert "1 ids only in adapter (first: x9)" in str(refused.value)
    assert refused.value.exit_code == 13


@pytest.mark.parametrize(
    "change",
    [{"text": "another text"}, {"true_label": "hate"}, {"groups": ("zebra",)}, {"cluster": "t"}],
)
def test_the_same_id_with_another_text_label_or_group_is_refused(change: dict[str, Any]) -> None:
    before = predictions(BASE)
    after = [replace(before[0], **change), *before[1:]]
    with pytest.raises(EvaluationError, match=r"1 of 6 ids have another text.*first: p000"):
        compare(before, after)


def test_a_repeated_id_and_an_empty_run_are_refused() -> None:
    before = predictions(BASE)
    with pytest.raises(EvaluationError, match="adapter: 1 row repeats an id"):
        compare(before, [*before, before[0]], ("base", "adapter"))
    with pytest.raises(EvaluationError, match="hold no predictions"):
        compare([], [])


def test_of_more_than_two_runs_the_first_is_the_reference() -> None:
    runs = {"a": predictions(BASE), "b": predictions(OTHER), "c": predictions(BASE)}
    pairs = compare_all(runs)
    assert [(c.reference, c.other) for c in pairs] == [("a", "b"), ("a", "c")]
    assert pairs[1].broken == pairs[1].fixed == ()


def test_auroc_is_compared_only_where_both_runs_have_scores() -> None:
    without = [replace(p, score=None) for p in predictions(OTHER)]
    found = compare(predictions(BASE), without)
    assert metric(found, "auroc")[1:] == (None, None)
    assert next(c for c in found.metrics if c.name == "auroc").interval is None


def test_a_rates_interval_is_the_same_as_a_gain_and_as_a_loss() -> None:
    found = compare(predictions(BASE * 5), predictions(OTHER * 5))
    recall = present(next(c for c in found.metrics if c.name == "recall").interval)
    missed = present(rate(found, "all posts", "false_negative_rate").interval)
    assert (recall.low, recall.high) == pytest.approx((-missed.high, -missed.low))


def test_intervals_of_differences_hold_them_and_are_seeded() -> None:
    before = predictions("\n".join(["- h n\n- n n\n- h h\n- n h"] * 30))
    after = predictions("\n".join(["- h h\n- n n\n- h h\n- n h"] * 30))
    found, again = compare(before, after), compare(before, after)
    assert found == again
    for change in found.metrics[:5]:
        interval = present(change.interval)
        assert interval.low <= present(change.difference) <= interval.high
    assert present(found.metrics[0].interval).low > 0.1  # 30 of 120 fixed, none broken


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.randoms())
def test_the_order_of_rows_and_of_runs_changes_nothing_but_signs(
    rows: list[tuple[str, ...]], random: Random
) -> None:
    before = predictions("\n".join(f"{g} {t} {a}" for g, t, a, _ in rows))
    after = predictions("\n".join(f"{g} {t} {b}" for g, t, _, b in rows))
    found = compare(before, after, draws=50)
    mixed = list(after)
    random.shuffle(mixed)
    assert compare(list(reversed(before)), mixed, draws=50) == found
    back = compare(after, before, draws=50)
    assert (back.broken, back.fixed) == (found.fixed, found.broken)
    assert back.p_value == pytest.approx(found.p_value)
    for there, return_ in zip(found.rates, back.rates, strict=True):
        assert (there.n, there.broken, there.fixed) == (return_.n, return_.fixed, return_.broken)
        assert there.other == return_.reference


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_broken_and_fixed_posts_add_up_to_the_difference(rows: list[tuple[str, ...]]) -> None:
    before = predictions("\n".join(f"{g} {t} {a}" for g, t, a, _ in rows))
    after = predictions("\n".join(f"{g} {t} {b}" for g, t, _, b in rows))
    found = compare(before, after, draws=20)
    fpr, fnr = found.rates[:2]
    assert fpr.broken + fnr.broken == len(found.broken)
    assert fpr.fixed + fnr.fixed == len(found.fixed)
    assert fpr.n + fnr.n == found.n
    accuracy = found.metrics[0]
    assert accuracy.difference == pytest.approx((len(found.fixed) - len(found.broken)) / found.n)
    # Every post is in exactly one of the groups here.
    assert sum(change.n for change in found.rates[2:]) == found.n


def test_holm_covers_every_group_and_both_rates() -> None:
    from statsmodels.stats.multitest import multipletests

    before = predictions("\n".join(["lgbtq n n"] * 30 + ["mexican n n"] * 30 + ["mexican h h"] * 9))
    after = predictions("\n".join(["lgbtq n h"] * 9 + ["lgbtq n n"] * 21 + ["mexican n h"] * 5
                        + ["mexican n n"] * 25 + ["mexican h h"] * 9))  # fmt: skip
    found = compare(before, after, draws=20)
    tested = [c for c in found.rates if c.group != "all posts" and c.n]
    adjusted = multipletests([c.p_value for c in tested], method="holm")[1]
    assert [c.holm_p for c in tested] == pytest.approx(list(adjusted), abs=1e-12)
    assert all(present(c.holm_p) >= present(c.p_value) for c in tested)
    assert rate(found, "all posts", "false_positive_rate").holm_p is None


def test_mcnemar_agrees_with_statsmodels() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    found = compare(predictions(BASE), predictions(OTHER))
    table = [[0, len(found.broken)], [len(found.fixed), 0]]
    assert found.p_value == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-12)


def test_a_gap_that_grew_is_told_with_an_interval_that_holds_it() -> None:
    before = predictions("\n".join(["lgbtq n n"] * 40 + ["mexican n n\nmexican n h"] * 20))
    after = predictions("\n".join(["lgbtq n n"] * 40 + ["mexican n h"] * 40))
    fpr = compare(before, after, draws=200).gaps[0]
    assert (fpr.reference, fpr.other, fpr.difference) == (0.5, 1.0, 0.5)
    interval = present(fpr.interval)
    assert interval.low < 0.5 < interval.high
    opportunity = compare(before, after, draws=20).gaps[1]
    assert (opportunity.reference, opportunity.difference) == (None, None)
    assert opportunity.interval is None
