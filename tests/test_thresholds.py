from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posts import predictions
from present import present
from sklearn.metrics import f1_score, roc_curve

from hsd.errors import ConfigError, EvaluationError
from hsd.metrics.classification import classify
from hsd.metrics.gaps import gaps
from hsd.metrics.groups import ALL
from hsd.metrics.thresholds import (
    Rule,
    RuleName,
    apply_threshold,
    at_prevalence,
    choose_threshold,
    curves,
    rates_at,
)
from hsd.prediction import Prediction

ROWS = st.lists(
    st.tuples(st.sampled_from(["lgbtq", "mexican"]), st.sampled_from("hn"), st.integers(0, 9)),
    min_size=2,
    max_size=60,
).filter(lambda rows: len({t for _, t, _ in rows}) == 2)


def made(rows: list[tuple[str, str, int]]) -> list[Prediction]:
    return predictions("\n".join(f"{g} {t} n {s / 9}" for g, t, s in rows))


@settings(max_examples=40)
@given(ROWS)
def test_the_highest_f1_of_any_threshold_is_found(rows: list[tuple[str, str, int]]) -> None:
    found = choose_threshold(made(rows), Rule("max_f1"))
    truth = [t == "h" for _, t, _ in rows]
    best = max(
        f1_score(truth, [s / 9 > cut for *_, s in rows], zero_division=0)
        for cut in np.arange(-1, 19, 2) / 18
    )
    assert found.f1 == pytest.approx(best, abs=1e-12)
    assert classify(apply_threshold(made(rows), found.threshold)).f1 == pytest.approx(found.f1)


@settings(max_examples=40)
@given(ROWS)
def test_the_highest_macro_f1_of_any_threshold_is_found_and_flipped_labels_flip_it(
    rows: list[tuple[str, str, int]],
) -> None:
    def best(rows: list[tuple[str, str, int]]) -> float:
        found = choose_threshold(made(rows), Rule("max_macro_f1"))
        return classify(apply_threshold(made(rows), found.threshold)).macro_f1 or 0.0

    truth = [t == "h" for _, t, _ in rows]
    expected = max(
        f1_score(truth, [s / 9 > cut for *_, s in rows], average="macro", zero_division=0)
        for cut in (*np.arange(-1, 19, 2) / 18, 1.0)
    )
    assert best(rows) == pytest.approx(expected, abs=1e-12)
    flipped = [(g, "n" if t == "h" else "h", 9 - s) for g, t, s in rows]
    assert best(flipped) == pytest.approx(expected, abs=1e-12)


def test_a_gap_that_is_asked_for_is_kept_on_the_rows_it_was_chosen_on() -> None:
    rows = [("lgbtq", "n", s) for s in (6, 6, 7, 2, 3)] * 4 + [("lgbtq", "h", 8)] * 20
    rows += [("mexican", "n", s) for s in (0, 1, 1, 2, 3)] * 4 + [("mexican", "h", 4)] * 20
    free, kept = (
        choose_threshold(made(rows), r) for r in (Rule("max_f1"), Rule("max_f1_within_gap", 0.1))
    )
    assert present(free.largest_gap) > 0.5
    assert present(kept.largest_gap) <= 0.1
    assert kept.f1 < free.f1
    at = gaps(apply_threshold(made(rows), kept.threshold), draws=5).raw.gaps
    assert at["equalised_odds"].value == pytest.approx(kept.largest_gap)


def test_most_recall_at_a_precision() -> None:
    rows = [("lgbtq", "h", s) for s in (9, 8, 7, 3)] + [("lgbtq", "n", s) for s in (6, 2, 1, 0)]
    found = choose_threshold(made(rows), Rule("recall_at_precision", 0.9))
    assert (found.recall, found.precision) == (3 / 4, 1.0)
    assert choose_threshold(made(rows), Rule("recall_at_precision", 0.8)).recall == 1.0


def test_a_rule_that_no_threshold_keeps_is_refused() -> None:
    rows = made([("lgbtq", "n", 9), ("lgbtq", "h", 1)])
    with pytest.raises(EvaluationError, match=r"recall_at_precision 0\.9: no threshold keeps it"):
        choose_threshold(rows, Rule("recall_at_precision", 0.9))
    with pytest.raises(EvaluationError, match="no two groups"):
        choose_threshold(rows, Rule("max_f1_within_gap", 0.1))
    with pytest.raises(EvaluationError, match="rows of both labels"):
        choose_threshold(rows[:1], Rule("max_f1"))
    with pytest.raises(EvaluationError, match="--mode score"):
        choose_threshold(predictions("- h h\n- n n"), Rule("max_f1"))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("max_f1", 0.1),
        ("max_macro_f1", 0.1),
        ("max_f1_within_gap", None),
        ("recall_at_precision", 1.5),
    ],
)
def test_a_rule_without_its_limit_is_refused(name: RuleName, limit: float | None) -> None:
    with pytest.raises(ConfigError, match=name):
        Rule(name, limit)


@given(ROWS)
def test_rates_over_thresholds_are_scikit_learns_roc(rows: list[tuple[str, str, int]]) -> None:
    hate, scores = np.array([t == "h" for _, t, _ in rows]), np.array([s / 9 for *_, s in rows])
    fpr, tpr, cuts = roc_curve(hate, scores, drop_intermediate=False)
    ours = rates_at(scores, hate, np.nextafter(cuts[1:], -1))  # theirs is `>=`, ours is `>`
    assert ours[0] == pytest.approx(fpr[1:], abs=1e-12)
    assert 1 - ours[1] == pytest.approx(tpr[1:], abs=1e-12)


def test_curves_are_those_of_all_posts_and_of_each_group() -> None:
    rows = made([("lgbtq", t, s) for t in "hn" for s in range(6)] + [("mexican", "h", 3)] * 6)
    found = curves(rows)
    assert list(found) == [ALL, "lgbtq", "mexican"]
    assert found["mexican"].false_positive_rate is None
    assert found["mexican"].roc is found["mexican"].pr is None
    roc = present(found["lgbtq"].roc)
    assert (roc[0], roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    missed, alarms = (
        present(found[ALL].false_negative_rate),
        present(found[ALL].false_positive_rate),
    )
    assert missed[0] == pytest.approx(1 / 12)  # one score of exactly 0
    assert alarms[-1] == 0.0
    assert curves(predictions("- h h\n- n n")) == {}


def test_precision_falls_with_prevalence_by_bayes_rule() -> None:
    rows = predictions("\n".join(["- h h"] * 8 + ["- h n"] * 2 + ["- n h"] * 1 + ["- n n"] * 9))
    found = present(at_prevalence(rows, 0.01))
    assert found.precision == pytest.approx(0.008 / (0.008 + 0.099))
    assert found.flagged == pytest.approx(8 + 99)
    assert found.missed == pytest.approx(2)
    interval = present(found.interval)
    assert interval.low < present(found.precision) < interval.high
    half = present(at_prevalence(rows, 0.5))
    assert half.precision == pytest.approx(classify(rows).precision)


def test_an_unread_reply_is_wrong_for_its_post_and_few_rows_say_nothing() -> None:
    rows = predictions("\n".join(["- h h", "- n refusal"] * 6))
    found = present(at_prevalence(rows, 0.02))
    assert found.flagged == pytest.approx(1000)
    assert found.precision == pytest.approx(0.02)
    assert at_prevalence(rows[:8], 0.02) is None
    nothing = present(at_prevalence(predictions("\n".join(["- h n", "- n n"] * 6)), 0.02))
    assert (nothing.precision, nothing.interval) == (None, None)


@pytest.mark.parametrize(
    ("name", "such"), [("max_f1_within_gap", 0.1), ("recall_at_precision", 0.9)]
)
def test_a_rule_without_its_limit_names_one_that_serves(name: RuleName, such: float) -> None:
    with pytest.raises(ConfigError, match=f"needs a limit; give one, such as --limit {such}"):
        Rule(name)
    assert Rule(name, such).limit == such


def test_posts_without_a_score_are_counted_where_a_threshold_is_chosen() -> None:
    rows = [replace(row, score=0.9) for row in predictions("lgbtq h h\nlgbtq n n\nlgbtq n n")]
    rows[1] = replace(rows[1], score=None)
    with pytest.raises(EvaluationError, match=r"every post, and 1 of 3 posts has none; choose it"):
        choose_threshold(rows, Rule("max_f1"))
