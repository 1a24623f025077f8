from dataclasses import replace

import pytest
from posts import predictions
from present import present

from hsd.example import Label
from hsd.metrics.baselines import Training, baselines, tfidf

ROWS = predictions("\n".join(["lgbtq h n .4\nmexican n h .6\nlgbtq n n .1"] * 4))
KIND = ["a warm day in the park", "they opened the library", "we had soup for lunch"] * 4
RUDE = ["send them away at once", "they are all rotten", "nobody wants them here"] * 4
KIND_LABELS: list[Label] = ["normal"] * 12
RUDE_LABELS: list[Label] = ["hate"] * 12
TRAINING = Training(KIND + RUDE, KIND_LABELS + RUDE_LABELS, "invented")


def test_always_hate_and_the_majority_stand_beside_every_evaluation() -> None:
    always, majority = baselines(ROWS, None)
    assert always.metrics.recall == 1.0
    assert always.groups["lgbtq"].rate("false_negative_rate") is None  # 4 hateful posts: too few
    assert majority.name == "majority of these posts (normal)"
    assert majority.metrics.accuracy == pytest.approx(8 / 12)


def test_the_majority_is_that_of_the_training_rows_where_they_are_known() -> None:
    hateful = Training(["x"] * 3, ["hate", "hate", "normal"], "invented")
    assert baselines(ROWS, hateful)[1].name == "majority of training rows (hate)"


def test_tfidf_learns_from_the_training_rows_alone() -> None:
    texts = ["they are rotten", "a warm library", "soup in the park"] * 4
    rows = [replace(p, text=text) for p, text in zip(ROWS, texts, strict=True)]
    found = tfidf(rows, TRAINING)
    assert [p.label for p in found[:3]] == ["hate", "normal", "normal"]
    assert all(0 <= present(p.score) <= 1 for p in found)
    named = baselines(rows, TRAINING)[2]
    assert named.name == "TF-IDF + logistic regression (24 training rows)"
    assert named.metrics.auroc == 1.0


def test_what_the_model_said_does_not_reach_a_baseline() -> None:
    silent = [replace(p, label=None, outcome="refusal", score=None) for p in ROWS]
    assert baselines(silent, TRAINING) == baselines(ROWS, TRAINING)


def test_training_rows_of_one_label_teach_nothing() -> None:
    assert len(baselines(ROWS, Training(KIND, ["normal"] * 12, "invented"))) == 2


def test_a_kept_baseline_of_another_file_of_as_many_rows_is_not_shown_as_this_one_s() -> None:
    texts = ["they are rotten", "a warm library", "soup in the park"] * 4
    rows = [replace(p, text=text) for p, text in zip(ROWS, texts, strict=True)]
    other = Training(KIND + RUDE, RUDE_LABELS + KIND_LABELS, "invented")
    kept = {"TF-IDF + logistic regression (24 training rows)": tfidf(rows, other)}
    found = baselines(rows, TRAINING, kept)
    assert [one.metrics.auroc for one in found[2:]] == [1.0]
