"""Chats: one way from a post to turns, and back from a training row."""

import json
from dataclasses import fields
from inspect import signature

import pytest

from hsd.example import LABELS, Example, Label
from hsd.prediction import Prediction
from hsd.prompts.chat import Chat, answer_json, chat_messages, chat_of_messages, make_chat
from hsd.prompts.template import Parameters, Strategy

PLAIN = Strategy(name="Plain", system_prompt="Sort posts.", user_template="Post: {text}")
FRAMED = Strategy(name="Framed", user_template="Post: <{text}> What is it?")
REASONED = Strategy(name="Reasoned", user_template="{text}", parameters=Parameters(rationale=True))


@pytest.mark.parametrize("label", LABELS)
def test_an_answer_is_strict_json_with_the_classification_first(label: Label) -> None:
    assert answer_json(label) == f'{{"classification": "{label}"}}'
    reasoned = json.loads(answer_json(label, 'It says "no".'))
    assert list(reasoned) == ["classification", "rationale"]
    assert reasoned["rationale"] == 'It says "no".'


def test_an_answer_keeps_letters_of_other_alphabets_as_they_are() -> None:
    assert answer_json("normal", "¿Qué?") == '{"classification": "normal", "rationale": "¿Qué?"}'


def test_a_chat_holds_the_post_apart_from_the_words_around_it() -> None:
    chat = make_chat(FRAMED, "7", "  the bakery opens \n", "normal")
    assert (chat.before, chat.post, chat.after) == (
        "Post: <",
        "the bakery opens",
        "> What is it?",
    )
    assert chat.user == "Post: <the bakery opens> What is it?"
    assert chat.answer == '{"classification": "normal"}'
    assert chat.system == ""


def test_without_a_label_the_model_is_asked() -> None:
    assert make_chat(PLAIN, "7", "a").answer is None


@pytest.mark.parametrize("post", ["{text}", "{0}", "{{", "}", "{classification}", "%s", "\\1"])
def test_a_post_cannot_fill_a_template_again(post: str) -> None:
    assert make_chat(PLAIN, "7", post).user == f"Post: {post}"


@pytest.mark.parametrize(
    ("strategy", "rationale", "learned"),
    [
        (PLAIN, "Harm.", {}),
        (REASONED, " Harm. ", {"rationale": "Harm."}),
        (REASONED, "", {}),
        (REASONED, "  ", {}),
    ],
)
def test_the_rationale_is_learned_where_the_strategy_asks_for_one(
    strategy: Strategy, rationale: str, learned: dict[str, str]
) -> None:
    answer = make_chat(strategy, "7", "a", "hate", rationale).answer
    assert json.loads(answer or "") == {"classification": "hate", **learned}


@pytest.mark.parametrize("strategy", [PLAIN, FRAMED, REASONED])
@pytest.mark.parametrize("post", ["a bakery", "Post: <nested>", "two\nlines", "ends with >"])
def test_a_training_row_gives_back_the_chat_it_was_written_from(
    strategy: Strategy, post: str
) -> None:
    messages = chat_messages(strategy, post, "hate", "It wishes harm.")
    again = chat_of_messages("7", messages, strategy)
    assert again == make_chat(strategy, "7", post, "hate", "It wishes harm.")


def test_an_empty_system_prompt_is_no_turn() -> None:
    assert [m["role"] for m in chat_messages(PLAIN, "a", "hate")] == ["system", "user", "assistant"]
    assert [m["role"] for m in chat_messages(FRAMED, "a", "hate")] == ["user", "assistant"]
    assert [m["role"] for m in chat_messages(FRAMED, "a")] == ["user"]


@pytest.mark.parametrize("strategy", [None, FRAMED])
def test_a_row_that_somebody_else_wrote_has_no_post_to_shorten(strategy: Strategy | None) -> None:
    messages = [
        {"role": "user", "content": "Is this fine? a bakery"},
        {"role": "assistant", "content": answer_json("normal")},
    ]
    chat = chat_of_messages("7", messages, strategy)
    assert chat.post is None
    assert chat.user == "Is this fine? a bakery"


def test_a_user_turn_shorter_than_the_words_around_a_post_has_none() -> None:
    overlapping = Strategy(name="Overlapping", user_template="aba{text}aba")
    for user in ("abaa", "ababa", "abaaba"):
        turns = [{"role": "user", "content": user}, {"role": "assistant", "content": "{}"}]
        chat = chat_of_messages("7", turns, overlapping)
        assert (chat.user, chat.post) == (user, None)


def test_nothing_that_a_prompt_is_made_from_can_hold_the_group() -> None:
    known = {"groups", "persona_tag", "source_dataset", "label_multiclass"}
    assert known <= {f.name for f in fields(Example)} & {f.name for f in fields(Prediction)}
    assert known.isdisjoint(signature(make_chat).parameters)
    assert known.isdisjoint(f.name for f in fields(Chat))
