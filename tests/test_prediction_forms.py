"""Result files of other programs, told by their columns: all rows here are invented."""

import json
from pathlib import Path
from typing import Any

import pytest

from hsd.config.loading import load_import_config
from hsd.errors import DataError
from hsd.evaluation.import_plan import ImportPlan, plan_import

POSTS: list[dict[str, Any]] = [
    {"id": "a", "text": "they are all liars", "label": "hate"},
    {"id": "b", "text": "the bakery opens", "label": "normal"},
    {"id": "c", "text": "send them away", "label": "hate"},
]
CASES = """functionality,case_id,test_case,label_gold,target_ident,templ_id
derog_h,1,i dislike all of group one,hateful,women,1
derog_h,2,i dislike all of group two,hateful,Muslims,1
ident_nh,3,group two bakes bread,non-hateful,Muslims,2
"""


def jsonl(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def planned(predictions: str, data_file: str = "", **options: Any) -> ImportPlan:
    data_file = data_file or jsonl("posts.jsonl", POSTS)
    return plan_import(load_import_config(predictions=predictions, data_file=data_file, **options))


def said(plan: ImportPlan) -> list[tuple[str | None, float | None]]:
    return [(p.label, None if p.score is None else round(p.score, 3)) for p in plan.predictions]


def perspective(id_: str, **scores: float) -> dict[str, Any]:
    """Return an answer of the service with its own spans, beside the id that was sent along."""
    answers = {
        name: {
            "spanScores": [{"begin": 0, "end": 5, "score": {"value": 0.5, "type": "PROBABILITY"}}],
            "summaryScore": {"value": value, "type": "PROBABILITY"},
        }
        for name, value in scores.items()
    }
    return {"attributeScores": answers, "languages": ["en"], "clientToken": id_}


def moderation(hate: float, *, flagged: bool) -> dict[str, Any]:
    categories = {"hate": flagged, "hate/threatening": False, "violence": True}
    scores = {"hate": hate, "hate/threatening": 0.01, "violence": 0.9}
    result = {"flagged": True, "categories": categories, "category_scores": scores}
    return {"id": "modr-1", "model": "moderation", "results": [result]}


def sample(at: int, doc: dict[str, Any], choices: dict[str, float]) -> dict[str, Any]:
    """Return a sample of a task with choices, as lm-eval writes it: all answers are texts."""
    return {
        "doc_id": at,
        "doc": doc,
        "target": "0",
        "arguments": {
            f"gen_args_{n}": {"arg_0": "Is this hate?", "arg_1": f" {choice}"}
            for n, choice in enumerate(choices)
        },
        "resps": [[[str(value), "False"]] for value in choices.values()],
        "filtered_resps": [[str(value), "False"] for value in choices.values()],
        "filter": "none",
        "metrics": ["acc"],
        "acc": 1.0,
    }


def written(at: int, doc: dict[str, Any], reply: str) -> dict[str, Any]:
    return {
        "doc_id": at, "doc": doc, "target": "hate", "filter": "none",
        "arguments": {"gen_args_0": {"arg_0": "Is this hate?", "arg_1": {"until": ["\n"]}}},
        "resps": [[reply]], "filtered_resps": [reply],
    }  # fmt: skip


def test_answers_of_perspective_give_the_score_of_their_one_attribute() -> None:
    rows = [perspective(id_, TOXICITY=s) for id_, s in (("a", 0.9), ("b", 0.1), ("c", 0.4))]
    plan = planned(jsonl("answers.jsonl", rows))
    assert said(plan) == [("hate", 0.9), ("normal", 0.1), ("normal", 0.4)]
    assert plan.notes == [
        "answers.jsonl: read as answers of Perspective: id in 'clientToken', score in 'TOXICITY'; "
        "matched by id."
    ]


def test_which_of_several_attributes_is_the_score_is_never_guessed() -> None:
    rows = [perspective(id_, TOXICITY=0.9, IDENTITY_ATTACK=0.2) for id_ in "abc"]
    with pytest.raises(DataError, match=r"several columns hold a score \(TOXICITY, IDENTITY_ATT"):
        planned(jsonl("answers.jsonl", rows))
    plan = planned("answers.jsonl", score_column="IDENTITY_ATTACK")
    assert said(plan) == [("normal", 0.2)] * 3


def test_answers_within_a_column_of_a_table_are_read() -> None:
    lines = [f'{id_},"{json.dumps(perspective(id_, TOXICITY=0.7)).replace(chr(34), chr(34) * 2)}"'
             for id_ in "abc"]  # fmt: skip
    Path("answers.csv").write_text("\n".join(["id,answer", *lines]) + "\n")
    assert said(planned("answers.csv")) == [("hate", 0.7)] * 3


def test_a_table_made_of_such_answers_is_recognised() -> None:
    Path("flat.csv").write_text(
        "id,attributeScores.TOXICITY.summaryScore.value\na,0.9\nb,0.1\nc,0.4\n"
    )
    assert said(planned("flat.csv")) == [("hate", 0.9), ("normal", 0.1), ("normal", 0.4)]


def test_answers_of_moderation_give_the_category_hate_and_its_own_decision() -> None:
    rows = [
        {"custom_id": "a", **moderation(0.45, flagged=True)},
        {"custom_id": "b", **moderation(0.1, flagged=False)},
        {"custom_id": "c", **moderation(0.6, flagged=True)},
    ]
    plan = planned(jsonl("answers.jsonl", rows), id_column="custom_id")
    assert said(plan) == [("hate", 0.45), ("normal", 0.1), ("hate", 0.6)]
    assert "1 label contradicts its score at 0.5 (a)." in " ".join(plan.notes)


def test_the_id_of_an_answer_is_not_taken_for_the_id_of_a_post() -> None:
    rows = [{"text": post["text"], **moderation(0.3, flagged=False)} for post in POSTS]
    for at, row in enumerate(rows):
        row["id"] = f"modr-{at}"
    assert planned(jsonl("answers.jsonl", rows)).notes[0].endswith("matched by text.")


def test_answers_of_a_batch_are_read_by_the_id_that_was_sent() -> None:
    rows = [
        {"custom_id": id_, "response": {"status_code": 200, "body": moderation(0.3, flagged=False)}}
        for id_ in "abc"
    ]
    plan = planned(jsonl("batch.jsonl", rows), score_column="category_scores.hate/threatening")
    assert said(plan) == [("normal", 0.01)] * 3


def test_the_id_that_was_sent_wins_over_an_id_that_no_post_has() -> None:
    rows = [
        {
            "id": f"batch_req_{at}",
            "custom_id": id_,
            "response": {"status_code": 200, "body": moderation(0.3, flagged=False)},
        }
        for at, id_ in enumerate("abc")
    ]
    plan = planned(jsonl("batch.jsonl", rows))
    assert "id in 'custom_id'" in plan.notes[0]
    for row, id_ in zip(rows, "abc", strict=True):
        row |= {"id": id_, "custom_id": f"mine-{id_}"}
    assert "id in 'id'" in planned(jsonl("batch.jsonl", rows)).notes[0]


def test_an_answer_about_several_posts_is_refused() -> None:
    answer = moderation(0.3, flagged=False)
    rows = [{"custom_id": "a", **answer, "results": answer["results"] * 2}]
    with pytest.raises(DataError, match="this answer holds several results"):
        planned(jsonl("answers.jsonl", rows))


def test_samples_with_choices_give_the_likeliest_and_its_share_among_the_choices() -> None:
    rows = [
        sample(0, POSTS[0], {"hate": -1.0, "normal": -3.0}),
        sample(1, POSTS[1], {"hate": -4.0, "normal": -0.5}),
        sample(2, POSTS[2], {"hate": -2.0, "normal": -1.9}),
    ]
    plan = planned(jsonl("samples_hate.jsonl", rows))
    assert said(plan) == [("hate", 0.881), ("normal", 0.029), ("normal", 0.475)]
    assert plan.given.form == "samples of lm-eval"
    assert any("label in lm-eval's answers;" in note for note in plan.notes)


def test_older_samples_with_lists_of_numbers_are_read_too() -> None:
    rows = [sample(at, post, {"hate": -1.0, "normal": -3.0}) for at, post in enumerate(POSTS)]
    for row in rows:
        row["arguments"] = [["Is this hate?", " hate"], ["Is this hate?", " normal"]]
        row["filtered_resps"] = [[-1.0, False], [-3.0, True]]
    assert said(planned(jsonl("samples.jsonl", rows))) == [("hate", 0.881)] * 3


@pytest.mark.parametrize("value", ["-inf", "nan", "inf"])
def test_choices_without_a_likelihood_give_no_score(value: str) -> None:
    rows = [sample(at, post, {"hate": -1.0, "normal": -3.0}) for at, post in enumerate(POSTS)]
    for row in rows:
        row["filtered_resps"] = [[value, "False"], [value, "False"]]
    with pytest.raises(DataError, match="no choice has a log-likelihood that is a number"):
        planned(jsonl("samples_hate.jsonl", rows))


def test_choices_that_do_not_say_what_they_mean_have_to_be_named() -> None:
    rows = [sample(at, post, {"yes": -1.0, "no": -3.0}) for at, post in enumerate(POSTS)]
    given = jsonl("samples.jsonl", rows)
    with pytest.raises(DataError, match="'yes' may mean hate or normal"):
        planned(given)
    assert said(planned(given, labels="hate=no normal=yes")) == [("normal", 0.119)] * 3


def test_written_replies_are_read_and_one_without_a_label_is_unreadable() -> None:
    replies = ("hate", ' {"classification": "normal"} ', "I'm sorry, I can't help with that")
    rows = [written(at, POSTS[at], reply) for at, reply in enumerate(replies)]
    plan = planned(jsonl("samples.jsonl", rows))
    assert [(p.label, p.outcome) for p in plan.predictions] == [
        ("hate", "valid"), ("normal", "valid"), (None, "refusal"),
    ]  # fmt: skip
    assert [p.reply for p in plan.predictions] == list(replies)
    assert "1 of 3 replies hold no label." in plan.notes


def test_replies_of_which_none_can_be_read_are_an_error_that_shows_short_ones() -> None:
    rows = [written(at, post, "AB"[at % 2]) for at, post in enumerate(POSTS)]
    with pytest.raises(DataError, match=r"none of 3 replies holds a label .*'A', 'B'"):
        planned(jsonl("samples.jsonl", rows))


def test_samples_of_several_filters_are_refused() -> None:
    rows = [written(at, post, "hate") for at, post in enumerate(POSTS)]
    again = [{**row, "filter": "strict-match"} for row in rows]
    with pytest.raises(DataError, match=r"2 filters \(none, strict-match\); keep the lines of one"):
        planned(jsonl("samples.jsonl", rows + again))


def test_samples_without_an_id_or_a_text_of_their_post_are_refused() -> None:
    rows = [written(at, {"question": post["text"]}, "hate") for at, post in enumerate(POSTS)]
    given = jsonl("samples.jsonl", rows)
    with pytest.raises(DataError, match="no column says which post"):
        planned(given)
    assert said(planned(given, text_column="question")) == [("hate", None)] * 3


def test_predictions_beside_the_ids_of_test_cases_are_matched_to_the_cases() -> None:
    Path("cases.csv").write_text(CASES)
    lines = CASES.splitlines()
    labels = ("hateful", "non-hateful", "non-hateful")
    rows = [f"{line},{label}" for line, label in zip(lines[1:], labels, strict=True)]
    Path("results.csv").write_text("\n".join([f"{lines[0]},pred_one", *rows]) + "\n")
    plan = planned("results.csv", "cases.csv")
    assert said(plan) == [("hate", None), ("normal", None), ("normal", None)]
    assert plan.notes[0] == (
        "results.csv: read as predictions for test cases: id in 'case_id', text in 'test_case', "
        "label in 'pred_one'; matched by case_id."
    )


def test_which_of_several_models_is_meant_is_asked() -> None:
    Path("cases.csv").write_text(CASES)
    Path("results.csv").write_text("case_id,pred_one,pred_two\n1,1,0\n2,0,0\n3,0,1\n")
    with pytest.raises(DataError, match=r"several columns hold a label \(pred_one, pred_two\)"):
        planned("results.csv", "cases.csv")
    plan = planned("results.csv", "cases.csv", label_column="pred_two")
    assert said(plan) == [("normal", None), ("normal", None), ("hate", None)]


def test_a_table_of_hsd_predict_is_read() -> None:
    Path("scores.csv").write_text(
        "id,text,label,hsd_score,hsd_label\n"
        "a,they are all liars,hate,0.4,normal\nb,the bakery opens,normal,0.1,normal\n"
        "c,send them away,hate,0.9,hate\n"
    )
    assert said(planned("scores.csv")) == [("normal", 0.4), ("normal", 0.1), ("hate", 0.9)]


def test_predictions_in_parquet_are_read() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": ["a", "b", "c"], "score": [0.9, 0.1, 0.7]})
    pq.write_table(table, "scores.parquet")
    assert said(planned("scores.parquet")) == [("hate", 0.9), ("normal", 0.1), ("hate", 0.7)]
