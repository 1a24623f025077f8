"""An imported prediction reaches its own post, with its own score, or is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hsd.config.loading import load_import_config
from hsd.data.given_predictions import GivenPrediction
from hsd.data.label_names import denies_hate
from hsd.data.match_predictions import match
from hsd.errors import ConfigError, DataError, EvaluationError
from hsd.evaluation import import_plan
from hsd.evaluation.import_plan import ImportPlan, plan_import
from hsd.evaluation.imported_run import import_predictions
from hsd.example import Example
from hsd.metrics.thresholds import Rule
from hsd.report.predictions import load_run
from hsd.report.rewriting import freeze

Rows = list[dict[str, Any]]
SWAPPED: Rows = [
    {"id": "1", "original_id": "3", "case_id": "2", "text": "first post", "label": "hate"},
    {"id": "2", "original_id": "1", "case_id": "3", "text": "second post", "label": "normal"},
    {"id": "3", "original_id": "2", "case_id": "1", "text": "third post", "label": "hate"},
]


def jsonl(name: str, rows: Rows) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def table(text: str) -> str:
    """Write lines such as `a hate .9` as a CSV."""
    with Path("given.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(line.split() for line in text.splitlines())
    return "given.csv"


def posts(texts: list[str]) -> Rows:
    return [
        {"id": f"p{at}", "text": text, "label": ("hate", "normal")[at % 2]}
        for at, text in enumerate(texts)
    ]


def planned(predictions: str, rows: Rows, **options: Any) -> ImportPlan:
    data = jsonl("posts.jsonl", rows)
    return plan_import(load_import_config(predictions=predictions, data_file=data, **options))


def by_text(predicted: dict[str, float], texts: list[str], **options: Any) -> list[float | None]:
    given = jsonl("given.jsonl", [{"text": t, "score": s} for t, s in predicted.items()])
    return [p.score for p in planned(given, posts(texts), **options).predictions]


def calls(plan: ImportPlan) -> str:
    return " ".join(p.label or "-" for p in plan.predictions)


def scores(plan: ImportPlan) -> list[float | None]:
    return [None if p.score is None else round(p.score, 3) for p in plan.predictions]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("original_id", "hate normal hate"),
        ("case_id", "hate hate normal"),
        ("mhc_case_id", "hate hate normal"),
        ("id", "normal hate hate"),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_a_column_of_ids_is_compared_with_the_field_that_it_is_called_after(
    column: str, expected: str, is_named: bool
) -> None:
    given = table(f"{column} prediction\n1 normal\n2 hate\n3 hate")
    options = {"id_column": column} if is_named else {}
    assert calls(planned(given, SWAPPED, **options)) == expected


def test_ids_that_name_different_posts_as_two_fields_are_refused_with_both_counts() -> None:
    given = table("custom_id prediction\n1 normal\n2 hate\n3 hate")
    with pytest.raises(DataError, match=r"3 ids are a post's id and 3 a post's case_id"):
        planned(given, SWAPPED)


def test_a_column_called_after_a_field_is_refused_where_another_field_holds_more_ids() -> None:
    rows = [{"id": str(n), "original_id": str(n + 2), "text": f"post {chr(97 + n)}",
             "label": "hate"} for n in range(4)]  # fmt: skip
    given = table("original_id prediction\n0 hate\n1 hate\n2 hate\n3 hate")
    with pytest.raises(DataError, match=r"2 ids are a post's original_id and 4 a post's id"):
        planned(given, rows)


def test_a_column_called_after_a_field_that_holds_none_of_its_ids_is_compared_with_the_others() -> (
    None
):
    rows = [{**row, "original_id": f"there-{row['id']}", "case_id": ""} for row in SWAPPED]
    given = table("original_id prediction\n1 normal\n2 hate\n3 hate")
    assert calls(planned(given, rows)) == "normal hate hate"


@pytest.mark.parametrize(
    ("post", "other"), [("only 10 of them", "only 99 of them"), ("!!!", "...")]
)
def test_a_text_whose_own_prediction_is_missing_never_gets_that_of_a_similar_one(
    post: str, other: str
) -> None:
    with pytest.raises(DataError, match=r"1 of posts.jsonl's posts have no prediction \(p0\)"):
        by_text({other: 0.9, "a third": 0.1}, [post, other, "a third"])
    texts = [post, other, "a third"]
    found = by_text({other: 0.9, "a third": 0.1}, texts, missing="unreadable")
    assert found == [None, 0.9, 0.1]


def test_a_similar_text_counts_also_where_it_is_of_a_post_outside_of_the_sample() -> None:
    every = [
        Example(id="a", text="only 10 of them", label="hate"),
        Example(id="b", text="only 99 of them", label="hate"),
    ]
    rows = [GivenPrediction("given.csv:2", text="only 99 of them", score=0.9)]
    found = match(every[:1], rows, "given.csv", beside=every)
    assert (found.given, found.missing, found.unknown) == ({}, ["a"], ["given.csv:2"])
    assert match(every[1:], rows, "given.csv", beside=every).given == {"b": rows[0]}


def test_a_text_of_a_post_outside_of_the_sample_is_known_to_the_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_plan, "sampled", lambda rows, _: rows[:1])
    given = jsonl("given.jsonl", [{"text": "only 99 of them", "score": 0.9}])
    with pytest.raises(DataError, match="no prediction is of a post"):
        planned(given, posts(["only 10 of them", "only 99 of them"]))


def test_a_text_of_punctuation_alone_is_like_no_other() -> None:
    with pytest.raises(DataError, match=r"\(p0\).*1 predictions are for no post"):
        by_text({"...": 0.9, "a third": 0.1}, ["!!!", "a third"])


def test_two_predictions_that_are_alike_are_of_no_post_and_are_counted() -> None:
    with pytest.raises(DataError, match=r"\(p0\).*2 predictions are for no post"):
        by_text({"Go home!": 0.9, "go home.": 0.9, "a third": 0.1}, ["go home", "a third"])


def test_a_prediction_that_is_only_like_a_post_with_its_own_is_counted_as_of_no_post() -> None:
    with pytest.raises(DataError, match=r"1 predictions are for no post"):
        by_text({"go home": 0.9, "Go home!": 0.2, "a third": 0.1}, ["go home", "a third"])


def test_copies_of_one_text_share_a_prediction_that_is_like_no_other_text() -> None:
    found = by_text({"go home": 0.9, "a third": 0.1}, ["Go home!", "a third", "Go home!"])
    assert found == [0.9, 0.1, 0.9]


def samples(replies: list[Any]) -> str:
    """Write samples of lm-eval: a written reply, or the log-likelihoods of hate and normal."""
    rows = []
    for at, said in enumerate(replies):
        is_reply = isinstance(said, str)
        requests = [["Hate?", "until"]] if is_reply else [["Hate?", " hate"], ["Hate?", " normal"]]
        answers = [said] if is_reply else [[str(value), "False"] for value in said]
        rows.append({"doc_id": at, "doc": {"id": f"p{at}"}, "arguments": requests,
                     "resps": [], "filtered_resps": answers, "filter": "none"})  # fmt: skip
    return jsonl("samples.jsonl", rows)


LIKELIHOODS = [(-1.0, -3.0), (-4.0, -0.5), (-2.0, -1.9)]
"""Of hate and normal: P(hate) is 0.881, 0.029 and 0.475."""
THREE = posts(["first post", "second post", "third post"])


def test_a_cut_applies_to_the_share_of_hate_among_lm_evals_choices() -> None:
    given = samples(LIKELIHOODS)
    assert calls(planned(given, THREE)) == "hate normal normal"
    assert calls(planned(given, THREE, cut=0.4)) == "hate normal hate"
    plan = planned(given, THREE, cut=0.9)
    assert calls(plan) == "normal normal normal"
    assert scores(plan) == [0.881, 0.029, 0.475]


def test_a_cut_is_refused_where_lm_evals_samples_are_written_replies() -> None:
    with pytest.raises(ConfigError, match=r"cut: 3 predictions have no P\(hate\)"):
        planned(samples(["hate", "normal", "no idea"]), THREE, cut=0.5)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("label_column", "id"),
        ("score_column", "id"),
        ("scores", "percent"),
        ("scores", "logit"),
        ("score_of", "normal"),
    ],
)
def test_options_that_cannot_apply_to_lm_evals_samples_are_refused(option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')}"):
        planned(samples(LIKELIHOODS), THREE, **{option: value})


def test_ranks_far_from_the_cut_become_places_and_never_equal() -> None:
    given = table("id score\np0 1000000003\np1 1000000001\np2 1000000002")
    plan = planned(given, THREE, scores="rank", cut=0)
    assert [p.score for p in plan.predictions] == [3 / 4, 1 / 4, 2 / 4]
    assert calls(plan) == "hate hate hate"
    assert any("place among the scores of the file" in note for note in plan.notes)


def test_ranks_near_the_cut_stay_as_they_were() -> None:
    plan = planned(table("id score\np0 4\np1 2\np2 3"), THREE, scores="rank", cut=3)
    assert [p.score for p in plan.predictions] == [0.75, 0.25, 0.5]
    assert "placed" not in plan.identity()


def test_no_threshold_is_carried_from_the_places_of_one_file_to_another() -> None:
    folders = []
    for name in ("validation", "test"):
        rows = [{**post, "id": f"{name}{at}", "text": f"{name} {post['text']}"}
                for at, post in enumerate(THREE)]  # fmt: skip
        lines = "".join(f"\n{name}{at} {1000000003 - at}" for at in range(3))
        config = load_import_config(
            predictions=table(f"id score{lines}"), data_file=jsonl(f"{name}.jsonl", rows),
            output_dir=f"runs/{name}", name="one", scores="rank", cut=0,
        )  # fmt: skip
        folders.append(import_predictions(config).folder)
    validation, test = map(load_run, folders)
    with pytest.raises(EvaluationError, match="places among the scores of one file"):
        freeze(validation, test, Rule("max_f1"))


@pytest.mark.parametrize("low", [("40", "41"), ("-800", "-801")])
def test_logits_that_would_become_equal_are_refused(low: tuple[str, str]) -> None:
    given = table(f"id score\np0 {low[0]}\np1 {low[1]}\np2 1")
    with pytest.raises(DataError, match=r"1 of 3 different scores would become equal.*rank"):
        planned(given, THREE, scores="logit")
    plan = planned(given, THREE, scores="rank", cut=0)
    assert len({p.score for p in plan.predictions}) == 3


def test_scores_of_normal_that_would_become_equal_are_refused() -> None:
    given = table("id score\np0 1e-20\np1 1e-21\np2 .5")
    with pytest.raises(DataError, match=r"1 of 3 different scores would become equal"):
        planned(given, THREE, score_of="normal")


def test_equal_scores_stay_equal() -> None:
    given = table("id score\np0 40\np1 40\np2 1")
    assert scores(planned(given, THREE, scores="logit")) == [1.0, 1.0, 0.731]


@pytest.mark.parametrize(
    "column",
    ["p_normal", "normal", "not_hate", "non_toxic_prob", "scores.normal", "P(normal)"]
    + ["safe_score", "p_not_rude", "P(safe)", "non_offensive", "scores.clean", "harm_free_prob"],
)
def test_a_score_called_after_what_is_normal_needs_a_word_on_what_it_is_of(column: str) -> None:
    given = table(f"id {column}\np0 .1\np1 .8\np2 .3")
    with pytest.raises(DataError, match="--score-of normal"):
        planned(given, THREE, score_column=column)
    assert scores(planned(given, THREE, score_column=column, score_of="normal")) == [0.9, 0.2, 0.7]
    assert scores(planned(given, THREE, score_column=column, score_of="hate")) == [0.1, 0.8, 0.3]


@pytest.mark.parametrize(
    "column", ["pred_not_hate", "pred_normal", "predicted_non_toxic", "is_safe", "pred_not_rude"]
)
def test_flags_of_a_predicted_label_called_after_what_is_normal_are_not_guessed(
    column: str,
) -> None:
    given = table(f"id {column}\np0 1\np1 0\np2 1")
    with pytest.raises(DataError, match="1 may mean normal here"):
        planned(given, THREE, label_column=column)
    plan = planned(given, THREE, label_column=column, labels="hate=0 normal=1")
    assert calls(plan) == "normal hate normal"


@pytest.mark.parametrize("column", ["p_hate", "score", "pred_one", "toxic_prob", "pred", "p_no"])
def test_other_columns_do_not_deny_hate(column: str) -> None:
    assert not denies_hate(column)
