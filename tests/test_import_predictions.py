"""Predictions of other programs: matched to every post, or refused with the ids that are not."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hsd.config.import_config import ImportConfig
from hsd.config.loading import load_import_config
from hsd.errors import ConfigError, DataError
from hsd.evaluation.import_plan import ImportPlan, plan_import
from hsd.prediction import Prediction

Rows = list[dict[str, Any]]
POSTS: Rows = [
    {"id": "a", "text": "they are all liars", "label": "hate", "target_group": "lgbtq"},
    {"id": "b", "text": "the bakery opens", "label": "normal", "target_group": "mexican"},
    {"id": "c", "text": "send them away", "label": "hate", "target_group": ""},
    {"id": "d", "text": "what a lovely parade", "label": "normal", "target_group": "lgbtq"},
]


def jsonl(name: str, rows: Rows) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def table(text: str, name: str = "given.csv") -> str:
    """Write lines such as `a hate .9` as a CSV; `-` is an empty cell."""
    lines = [line.split() for line in text.strip().splitlines()]
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["" if cell == "-" else cell for cell in row] for row in lines])
    return name


def config(predictions: str, posts: Rows = POSTS, **options: Any) -> ImportConfig:
    return load_import_config(
        predictions=predictions, data_file=jsonl("posts.jsonl", posts), **options
    )


def planned(predictions: str, posts: Rows = POSTS, **options: Any) -> ImportPlan:
    return plan_import(config(predictions, posts, **options))


def calls(plan: ImportPlan) -> str:
    """Return `hate normal - hate`, in the order of the posts; `-` is no label."""
    return " ".join(p.label or "-" for p in plan.predictions)


def scores(plan: ImportPlan) -> list[float | None]:
    return [None if p.score is None else round(p.score, 3) for p in plan.predictions]


def by_id(plan: ImportPlan) -> dict[str, Prediction]:
    return {p.id: p for p in plan.predictions}


def test_a_label_and_a_score_are_matched_by_id() -> None:
    plan = planned(table("id score\nd .1\nc .7\nb .5\na .9"))
    assert calls(plan) == "hate normal hate normal"
    assert scores(plan) == [0.9, 0.5, 0.7, 0.1]
    assert by_id(plan)["a"].groups == ("lgbtq",)
    assert plan.notes[0] == (
        "given.csv: read as a table: id in 'id', score in 'score'; matched by id."
    )


def test_labels_alone_have_no_scores() -> None:
    plan = planned(table("id prediction\na hate\nb normal\nc normal\nd hate"))
    assert calls(plan) == "hate normal normal hate"
    assert scores(plan) == [None] * 4
    assert {p.outcome for p in plan.predictions} == {"valid"}


def test_a_post_without_a_prediction_is_an_error_that_counts_and_names_it() -> None:
    with pytest.raises(DataError, match=r"2 of posts.jsonl's posts have no prediction \(c, d\)"):
        planned(table("id score\na .9\nb .2"))


def test_a_blank_prediction_is_a_missing_one() -> None:
    with pytest.raises(DataError, match=r"1 of posts.jsonl's posts have no prediction \(c\)"):
        planned(table("id score\na .9\nb .2\nc -\nd .1"))


def test_a_missing_prediction_may_count_as_an_unreadable_reply_and_is_never_left_out() -> None:
    plan = planned(table("id score\na .9\nb .2\nd .1"), missing="unreadable")
    assert calls(plan) == "hate normal - normal"
    assert by_id(plan)["c"].outcome == "invalid"
    assert "1 of 4 posts have no prediction (c); they count as unreadable" in " ".join(plan.notes)


def test_a_prediction_for_no_post_is_an_error_that_names_it_unless_it_is_ignored() -> None:
    given = table("id score\na .9\nb .2\nc .7\nd .1\nzz .5")
    with pytest.raises(DataError, match=r"1 predictions are for no post of posts.jsonl \(zz\)"):
        planned(given)
    plan = planned(given, unknown="ignore")
    assert len(plan.predictions) == 4
    assert "1 predictions are for no post of the data and are ignored (zz)." in plan.notes


def test_missing_and_unknown_predictions_are_told_together() -> None:
    with pytest.raises(DataError, match=r"1 of .* \(d\): .*; 1 predictions .* \(zz\)"):
        planned(table("id score\na .9\nb .2\nc .7\nzz .1"))


def test_two_predictions_for_one_id_are_refused() -> None:
    with pytest.raises(DataError, match=r"1 prediction repeats the id of another one \(b\)"):
        planned(table("id score\na .9\nb .2\nb .2\nc .7\nd .1"))


def test_predictions_of_another_set_are_refused() -> None:
    with pytest.raises(DataError, match=r"no prediction is of a post of posts.jsonl"):
        planned(table("id score\nx .9\ny .2"), missing="unreadable", unknown="ignore")


def test_ids_that_a_program_made_numbers_of_match() -> None:
    posts = [{**post, "id": str(at)} for at, post in enumerate(POSTS)]
    assert calls(planned(table("id score\n0.0 .9\n1.0 .2\n2.0 .7\n3.0 .1"), posts)) == (
        "hate normal hate normal"
    )


def test_an_id_with_the_text_of_another_post_is_refused() -> None:
    rows = [{"id": post["id"], "text": post["text"], "score": 0.5} for post in POSTS]
    rows[0]["text"] = "the parade is long"
    with pytest.raises(DataError, match=r"1 id has another text than in the data \(a\)"):
        planned(jsonl("given.jsonl", rows))


def test_a_column_that_is_named_as_the_id_is_nothing_else_whatever_its_name() -> None:
    given = table("post said\na toxic\nb ok\nc toxic\nd ok")
    options: dict[str, Any] = {"label_column": "said", "labels": "hate=toxic normal=ok"}
    plan = planned(given, id_column="post", **options)
    assert calls(plan) == "hate normal hate normal"
    assert "text in" not in plan.notes[0]
    with pytest.raises(DataError, match="'post' is named with --id-column and for something else"):
        planned(given, id_column="post", text_column="post", **options)
    scored = table("label score\na .9\nb .1\nc .8\nd .3")
    assert calls(planned(scored, id_column="label")) == "hate normal hate normal"


def test_texts_match_as_duplicates_are_compared() -> None:
    said = ["They are all LIARS!", "the  bakery opens", "send them away.", "What a lovely parade"]
    rows = [{"text": text, "score": 0.9} for text in said]
    plan = planned(jsonl("given.jsonl", rows))
    assert scores(plan) == [0.9] * 4
    assert plan.notes[0].endswith("matched by text.")


def test_texts_that_differ_in_their_numbers_alone_keep_their_own_predictions() -> None:
    posts = [{**POSTS[0], "text": "they are 3 liars"}, {**POSTS[1], "text": "they are 5 liars"}]
    rows = [{"text": "they are 5 liars", "score": 0.1}, {"text": "they are 3 liars", "score": 0.9}]
    assert scores(planned(jsonl("given.jsonl", rows), posts)) == [0.9, 0.1]


def test_a_text_that_stands_twice_in_the_data_gets_one_prediction_and_is_told() -> None:
    posts = [*POSTS, {**POSTS[1], "id": "e"}]
    rows = [{"text": post["text"], "score": 0.3} for post in POSTS]
    plan = planned(jsonl("given.jsonl", rows), posts)
    assert scores(plan) == [0.3] * 5
    assert "2 posts of the data have a text that stands there more than once (b, e)" in " ".join(
        plan.notes
    )


def test_a_text_with_two_predictions_that_differ_is_refused() -> None:
    rows = [{"text": post["text"], "score": 0.3} for post in [*POSTS, POSTS[1]]]
    assert len(planned(jsonl("given.jsonl", rows)).predictions) == 4
    rows[-1]["score"] = 0.4
    with pytest.raises(DataError, match=r"1 post has several predictions that differ \(b\)"):
        planned(jsonl("given.jsonl", rows))


def test_predicted_labels_are_named_as_labels_of_own_data_are() -> None:
    given = table("id said\na bad\nb ok\nc bad\nd ok")
    with pytest.raises(DataError, match="unknown labels in 'said': 'bad' .2 rows., 'ok' .2 rows"):
        planned(given, label_column="said")
    plan = planned(given, label_column="said", labels="hate=bad normal=ok")
    assert calls(plan) == "hate normal hate normal"


def test_a_dropped_label_is_no_prediction_and_never_leaves_a_post_out() -> None:
    options: dict[str, Any] = {"label_column": "said", "labels": "hate=toxic normal=ok drop=unsure"}
    given = table("id said\na toxic\nb ok\nc unsure\nd ok")
    with pytest.raises(DataError, match=r"1 of posts.jsonl's posts have no prediction \(c\)"):
        planned(given, **options)
    assert calls(planned(given, **options, missing="unreadable")) == "hate normal - normal"


def test_several_columns_of_labels_vote() -> None:
    given = table("id x y z\na hate hate normal\nb normal normal normal\nc hate hate hate\n"
                  "d normal hate normal")  # fmt: skip
    plan = planned(given, label_column=["x", "y", "z"])
    assert calls(plan) == "hate normal hate normal"
    assert "label in 'x', 'y', 'z'; matched" in plan.notes[0]


def test_a_score_that_is_no_number_is_refused_with_its_place() -> None:
    said = r"1 of 4 predictions cannot be used: given.csv:3: unreadable number 'high' in 'score'"
    with pytest.raises(DataError, match=said):
        planned(table("id score\na .9\nb high\nc .7\nd .1"))


def test_a_decimal_comma_is_named_with_its_values() -> None:
    said = r"2 rows .given.csv:2, given.csv:4.: unreadable numbers in 'score': '0,9' .* comma"
    with pytest.raises(DataError, match=said):
        planned(table("id score\na 0,9\nb .2\nc 0,7\nd .1"))


def test_a_cut_without_scores_says_that_it_needs_them() -> None:
    with pytest.raises(DataError, match=r"--cut needs scores.*columns: id, label"):
        planned(table("id label\na hate\nb normal\nc hate\nd normal"), cut=0.5)


@pytest.mark.parametrize(
    ("lines", "options", "word"),
    [
        ("a .9\nb .2\nc .7\nd .1", {"scores": "percent"}, "Every score is at most 1: are they"),
        ("a .9\nb .2\nc .7\nd .1", {"cut": 50}, "No score reaches the cut of 50"),
        ("a 90\nb 20\nc 70\nd 10", {"scores": "percent", "cut": 0.5}, "Every score reaches the"),
    ],
)
def test_a_scale_that_the_scores_do_not_fit_is_told(
    lines: str, options: dict[str, Any], word: str
) -> None:
    plan = planned(table(f"id score\n{lines}"), **options)
    assert [note for note in plan.notes if note.startswith(word)]
    sound = planned(table("id score\na 90\nb 20\nc 70\nd 10"), scores="percent", cut=50)
    assert len(sound.notes) == 1


def test_scores_alone_that_run_the_other_way_are_told_where_chance_does_not_explain_it() -> None:
    posts = [{**POSTS[n % 2], "id": f"p{n}", "text": f"{'x' * n} y"} for n in range(12)]
    given = [{"id": f"p{n}", "score": (n % 2 or 0) * 0.8 + n / 100} for n in range(12)]
    (_, said) = planned(jsonl("given.jsonl", given), posts).notes
    assert said.startswith("AUROC is .00: do the scores run the other way?")
    assert len(planned(jsonl("given.jsonl", given), posts, score_of="normal").notes) == 1
    few = planned(table("id score\na .2\nb .9\nc .1\nd .8"))
    assert len(few.notes) == 1


def test_scores_outside_of_0_to_1_are_refused_until_a_person_says_what_they_are() -> None:
    given = table("id score\na 3.5\nb -2\nc 0.4\nd -0.4")
    with pytest.raises(DataError, match=r"3 of 4 scores lie outside of 0 to 1 .*from -2 to 3.5"):
        planned(given)
    assert scores(planned(given, scores="logit")) == [0.971, 0.119, 0.599, 0.401]


def test_percents_are_said_and_not_guessed() -> None:
    given = table("id score\na 90\nb 2\nc 70\nd 0.5")
    assert scores(planned(given, scores="percent")) == [0.9, 0.02, 0.7, 0.005]
    with pytest.raises(DataError, match="outside of 0 to 100"):
        planned(table("id score\na 101\nb 2\nc 70\nd 1"), scores="percent")


def test_ranks_keep_their_order_and_need_a_cut() -> None:
    given = table("id score\na 1e6\nb -7\nc 3\nd 2.9")
    with pytest.raises(ConfigError, match="--cut"):
        planned(given, scores="rank")
    plan = planned(given, scores="rank", cut=3)
    ranked = sorted(plan.predictions, key=lambda p: p.score or 0.0)
    assert [p.id for p in ranked] == ["b", "d", "c", "a"]
    assert calls(plan) == "hate normal hate normal"


def test_a_cut_makes_labels_in_the_scale_of_the_file() -> None:
    plan = planned(table("id score\na .9\nb .3\nc .29\nd .1"), cut=0.3)
    assert calls(plan) == "hate hate normal normal"
    assert plan.notes[0].endswith("; hate from the score 0.3 on.")


def test_scores_of_normal_or_of_the_label_are_turned_only_when_that_is_said() -> None:
    given = table("id score\na .1\nb .8\nc .3\nd .9")
    assert scores(planned(given, score_of="normal")) == [0.9, 0.2, 0.7, 0.1]
    piped = table("id label score\na hate .9\nb normal .8\nc normal .7\nd normal .9")
    with pytest.raises(DataError, match="--score-of label"):
        planned(piped)
    assert scores(planned(piped, score_of="label")) == [0.9, 0.2, 0.3, 0.1]


def test_scores_that_run_the_other_way_are_refused() -> None:
    with pytest.raises(DataError, match="--score-of normal"):
        planned(table("id label score\na hate .1\nb normal .4\nc normal .3\nd normal .45"))


def test_scores_of_normal_beside_right_labels_are_told_from_scores_of_the_label() -> None:
    turned = table("id label score\na hate .1\nb normal .8\nc hate .45\nd normal .9")
    given: list[dict[str, Any]] = [{}, {"score_of": "label"}]
    for options in given:
        with pytest.raises(DataError, match="--score-of normal"):
            planned(turned, **options)
    assert scores(planned(turned, score_of="normal")) == [0.9, 0.2, 0.55, 0.1]
    mixed = table("id label score\na hate .1\nb normal .8\nc hate .85\nd normal .9")
    with pytest.raises(DataError, match="1 of 2 posts that are called hate.* --score-of normal"):
        planned(mixed)


@pytest.mark.parametrize(
    ("scale", "options"), [(1, {}), (100, {"scores": "percent"})], ids=["probability", "percent"]
)
def test_a_score_below_a_half_is_not_of_the_predicted_label(
    scale: int, options: dict[str, Any]
) -> None:
    said = [("a", "hate", 0.9), ("b", "normal", 0.2), ("c", "hate", 0.8), ("d", "normal", 0.4)]
    lines = [f"{id_} {label} {score * scale:g}" for id_, label, score in said]
    with pytest.raises(DataError, match="2 of 4 scores .* --score-of hate says"):
        planned(table("\n".join(["id label score", *lines])), score_of="label", **options)


def test_labels_that_contradict_their_scores_are_counted_and_the_cut_is_found() -> None:
    plan = planned(table("id prediction score\na hate .9\nb normal .6\nc hate .8\nd normal .1"))
    assert calls(plan) == "hate normal hate normal"
    assert "1 label contradicts its score at 0.5 (b)." in " ".join(plan.notes)
    assert "The labels follow the scores at a cut between 0.6 and 0.8." in plan.notes


def test_labels_that_no_cut_of_the_scores_gives_are_told() -> None:
    plan = planned(table("id prediction score\na hate .9\nb normal .6\nc hate .2\nd normal .1"))
    assert "No cut of the scores gives these labels: 2 of 4 scores overlap." in plan.notes


def test_labels_and_scores_that_agree_are_not_remarked_on() -> None:
    assert len(planned(table("id prediction score\na hate .9\nb normal .2\nc hate .8\nd normal .1"))
               .notes) == 1  # fmt: skip


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cut": 0.5, "label_column": "label"}, "--label-column"),
        ({"cut": 0.5, "score_of": "normal"}, "--score-of"),
        ({"score_of": "label", "score_column": "score"}, "--label-column"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        planned(table("id label score\na hate .9\nb normal .2\nc hate .8\nd normal .1"), **options)


def test_the_true_labels_are_not_taken_for_predictions() -> None:
    posts = [{**POSTS[at % 4], "id": f"p{at}", "text": f"{'x' * at} {at}"} for at in range(24)]
    given = jsonl("given.jsonl", [{"id": p["id"], "label": p["label"]} for p in posts])
    with pytest.raises(DataError, match="'label' holds the true label of every post"):
        planned(given, posts)
    assert len(planned(given, posts, label_column="label").predictions) == 24


def test_a_column_that_is_not_there_is_refused_with_the_ones_that_are() -> None:
    with pytest.raises(DataError, match=r"no column 'scor'. Did you mean 'score'.*id, score"):
        planned(table("id score\na .9"), score_column="scor")


@pytest.mark.parametrize(
    ("header", "word"), [("name score", "--id-column or --text-column"), ("id name", "no column")]
)
def test_a_table_without_ids_or_predictions_is_refused(header: str, word: str) -> None:
    with pytest.raises(DataError, match=word):
        planned(table(f"{header}\na .9"))


def test_the_posts_may_have_columns_of_their_own() -> None:
    posts = [{"key": p["id"], "body": p["text"], "kind": p["label"]} for p in POSTS]
    columns = {"id_column": "key", "text_column": "body", "label_column": "kind"}
    plan = planned(table("id score\na .9\nb .2\nc .7\nd .1"), posts, data=columns)
    assert [p.true_label for p in plan.predictions] == ["hate", "normal", "hate", "normal"]


def test_a_sample_is_the_one_that_evaluate_takes() -> None:
    given = table("id score\na .9\nb .2\nc .7\nd .1")
    plan = planned(given, max_samples=2, unknown="ignore")
    assert len(plan.predictions) == 2


def test_the_detector_has_the_name_of_its_file_unless_it_has_another() -> None:
    given = table("id score\na .9\nb .2\nc .7\nd .1", "toxicity.csv")
    assert planned(given).detector == "toxicity"
    assert planned(given, name="perspective").detector == "perspective"
