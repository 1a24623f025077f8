"""What a report says it did not measure, and why."""

from dataclasses import replace

import pytest
from posts import predictions

from hsd.metrics.evaluation import summarize
from hsd.prediction import Prediction
from hsd.report.context import ReportContext, not_measured


def said(rows: list[Prediction], word: str) -> list[str]:
    """Return the sentences that begin with a word."""
    sentences = not_measured(summarize(rows), ReportContext())
    return [sentence for sentence in sentences if sentence.startswith(word)]


def scored(hate: int, normal: int) -> list[Prediction]:
    rows = predictions("\n".join(["lgbtq h h"] * hate + ["lgbtq n n"] * normal))
    return [replace(row, score=0.9 if row.true_label == "hate" else 0.2) for row in rows]


@pytest.mark.parametrize("n", [10, 19])
def test_posts_too_few_for_calibration_are_not_called_replies_without_scores(n: int) -> None:
    rows = scored(n // 2, n - n // 2)
    assert said(rows, "AUROC") == []
    assert said(rows, "Calibration") == [
        f"Calibration: {n} posts are too few for its 10 bins; it needs 20."
    ]


def test_enough_scored_posts_leave_nothing_of_scores_unmeasured() -> None:
    rows = scored(10, 10)
    assert [said(rows, word) for word in ("AUROC", "ROC", "Calibration")] == [[], [], []]


def test_posts_of_one_label_are_the_reason_for_no_auroc() -> None:
    assert said(scored(0, 20), "AUROC") == [
        "AUROC: it compares hateful posts with normal ones, and these are all of one label."
    ]
    assert said(scored(0, 20), "ROC") == []


def test_too_few_posts_of_a_label_are_the_reason_for_no_curves() -> None:
    (curves,) = said(scored(2, 20), "ROC")
    assert curves.endswith("they need 5 posts of each label; these are 2 hate and 20 normal.")


@pytest.mark.parametrize("n", [4, 40])
def test_written_replies_carry_no_scores_however_many_they_are(n: int) -> None:
    rows = [replace(row, score=None) for row in scored(n // 2, n // 2)]
    assert len(said(rows, "AUROC, calibration and thresholds: the replies carry no P(hate)")) == 1
    assert said(rows, "Calibration") == []


def test_one_post_without_a_score_is_the_reason_for_no_auroc_and_is_counted() -> None:
    rows = [replace(row, score=None) if at == 3 else row for at, row in enumerate(scored(10, 10))]
    assert summarize(rows).headline.auroc is None
    assert said(rows, "AUROC") == [
        "AUROC, calibration and thresholds: they need a score for every post, and 1 of 20 posts "
        "has none."
    ]
