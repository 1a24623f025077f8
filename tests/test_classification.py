import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions
from sklearn import metrics as theirs

from hsd.example import Label
from hsd.metrics.classification import ConfusionMatrix, always, calls, classify, count
from hsd.prediction import Prediction

CALLS = st.sampled_from(["h", "n", "refusal", "truncated", "invalid"])
ROWS = st.lists(
    st.tuples(st.sampled_from("hn"), CALLS, st.integers(0, 20)), min_size=1, max_size=60
)


def made(rows: list[tuple[str, str, int]]) -> list[Prediction]:
    return predictions("\n".join(f"lgbtq {t} {c} {s / 20}" for t, c, s in rows))


def test_a_hand_computed_table_gives_its_counts_and_rates() -> None:
    found = classify(predictions("lgbtq h h\nlgbtq h h\nlgbtq h n\nlgbtq n h\nlgbtq n n"))
    assert found.counts == ConfusionMatrix(tp=2, tn=1, fp=1, fn=1)
    assert found.accuracy == 3 / 5
    assert found.precision == found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.counts.false_positive_rate == 1 / 2
    assert found.counts.false_negative_rate == 1 / 3


def test_a_rate_without_a_denominator_is_none_and_not_zero() -> None:
    assert ConfusionMatrix(tp=3).false_positive_rate is None
    assert ConfusionMatrix(tn=3).false_negative_rate is None
    only_normal = classify(predictions("lgbtq n n"))
    assert only_normal.accuracy == 1.0
    assert only_normal.precision is only_normal.recall is only_normal.f1 is None
    assert only_normal.macro_f1 is None


def test_an_unread_hate_is_a_miss_and_an_unread_normal_a_false_alarm() -> None:
    rows = predictions("lgbtq h refusal\nlgbtq n invalid\nlgbtq n truncated\nlgbtq h h")
    assert count(rows) == classify(rows).counts == ConfusionMatrix(tp=1, tn=0, fp=2, fn=1)


def test_the_three_policies_of_unreadable_replies() -> None:
    rows = predictions("lgbtq h h\nlgbtq h refusal\nlgbtq h refusal\nlgbtq n n\nlgbtq n invalid")
    assert classify(rows, "error").accuracy == 2 / 5
    assert classify(rows, "drop").accuracy == 1.0
    assert classify(rows, "drop").counts.n == 2
    assert classify(rows, "majority").counts == ConfusionMatrix(tp=3, tn=1, fp=1, fn=0)


def test_dropping_every_row_leaves_no_metric() -> None:
    nothing = classify(predictions("lgbtq h refusal\nlgbtq n refusal"), "drop")
    assert nothing.counts.n == 0
    assert nothing.accuracy is nothing.f1 is nothing.macro_f1 is None


def test_the_majority_of_a_tie_is_normal() -> None:
    assert calls(predictions("- h refusal\n- n n"), "majority") == ["normal", "normal"]


def test_auroc_needs_a_score_in_every_row_and_both_labels() -> None:
    assert classify(predictions("- h h .9\n- h n .4\n- n n .5\n- n n .1")).auroc == 0.75
    assert classify(predictions("- h h .9\n- n n")).auroc is None
    assert classify(predictions("- h h .9\n- h h .8")).auroc is None


def test_auroc_does_not_depend_on_which_replies_could_be_read() -> None:
    rows = predictions("- h refusal .9\n- h n .4\n- n n .5\n- n invalid .1")
    assert classify(rows, "error").auroc == classify(rows, "drop").auroc == 0.75


def test_always_hate_scores_what_the_share_of_hate_gives_it() -> None:
    labels: list[Label] = ["hate"] * 455
    labels += ["normal"] * 554
    found = always("hate", labels)
    assert found.counts == ConfusionMatrix(tp=455, fp=554)
    assert found.f1 == pytest.approx(0.622, abs=5e-4)  # what always-hate scores there
    assert found.counts.false_positive_rate == 1.0


@given(ROWS)
def test_counts_add_up_to_the_whole_and_unread_rows_are_all_wrong(
    rows: list[tuple[str, str, int]],
) -> None:
    found = classify(made(rows))
    unread = sum(called not in ("h", "n") for _, called, _ in rows)
    assert found.counts.n == len(rows)
    assert found.counts.fp + found.counts.fn >= unread
    assert found.counts.hates == sum(true == "h" for true, _, _ in rows)


@given(ROWS, st.randoms())
def test_the_order_of_rows_changes_nothing(
    rows: list[tuple[str, str, int]], random: Random
) -> None:
    original = made(rows)
    shuffled = list(original)
    random.shuffle(shuffled)
    assert classify(original) == classify(shuffled)


@given(ROWS)
def test_metrics_agree_with_scikit_learn(rows: list[tuple[str, str, int]]) -> None:
    made_rows = made(rows)
    truth = [p.true_label for p in made_rows]
    called = calls(made_rows)
    found = classify(made_rows)
    assert found.accuracy == pytest.approx(theirs.accuracy_score(truth, called), abs=1e-12)
    for name, score in {
        "precision": theirs.precision_score,
        "recall": theirs.recall_score,
        "f1": theirs.f1_score,
    }.items():
        expected = score(truth, called, pos_label="hate", zero_division=math.nan)
        value = getattr(found, name)
        assert (value is None) == math.isnan(expected)
        assert value is None or value == pytest.approx(expected, abs=1e-12)


@given(ROWS)
def test_failing_to_answer_never_raises_a_headline_score(rows: list[tuple[str, str, int]]) -> None:
    answered = made(rows)
    before = classify(answered)
    silent = [replace(answered[0], label=None, outcome="refusal"), *answered[1:]]
    after = classify(silent)
    for name in ("accuracy", "recall", "f1", "macro_f1"):
        a, b = getattr(before, name), getattr(after, name)
        assert a is None or b is None or b <= a + 1e-12
