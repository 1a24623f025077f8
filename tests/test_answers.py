"""Reading replies: five outcomes, never a guess, and no reply breaks or stalls the reader."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsd.example import LABELS, Label
from hsd.prediction import OUTCOMES
from hsd.prompts.answers import ParsedReply, object_end, read_reply
from hsd.prompts.chat import answer_json

HATE, NORMAL = '{"classification": "hate"}', '{"classification": "normal"}'
FINAL = "<|channel|>final<|message|>"

READABLE = [
    ("valid hate", HATE),
    ("valid normal", NORMAL),
    ("valid hate", '{"classification":"hate"}'),
    ("valid hate", f"\n  {HATE}\n"),
    ("valid normal", '{\n  "classification": "normal",\n  "rationale": "A recipe."\n}'),
    ("valid hate", '{"rationale": "It says they should leave.", "classification": "hate"}'),
    ("valid normal", '{"classification": "normal", "rationale": "Braces } in { a string."}'),
    ("valid normal", '{"classification": "normal", "rationale": "He said \\"hi}\\"."}'),
    ("valid hate", '{"classification": "hate", "scores": {"hate": 0.9, "normal": 0.1}}'),
    ("valid hate", '{"classification": "hate", "rationale": "I cannot help but call it that."}'),
    # something around the object
    ("repaired hate", f"Sure! {HATE}"),
    ("repaired normal", f"{NORMAL} because it is a recipe."),
    ("repaired hate", f"Answer: {{a note}} {HATE}"),
    ("repaired normal", f"{HATE} No, wait: {NORMAL}"),
    ("repaired hate", f"{NORMAL}\n{HATE}"),
    ("repaired hate", f"{HATE} (in the words of the policy: {{not JSON}})"),
    ("repaired hate", f"{{ thinking: {HATE}"),
    ("repaired hate", f'He wrote "{{" and that is {HATE}'),
    ("repaired normal", f"{NORMAL}{{"),
    ("repaired normal", '"' + NORMAL.replace('"', "'") + '"'),
    # fenced
    ("repaired hate", f"```json\n{HATE}\n```"),
    ("repaired normal", f"```\n{NORMAL}\n```"),
    ("repaired hate", f"Here it is:\n```json\n{HATE}\n```\nI hope that helps."),
    ("repaired normal", f"```json\n{HATE}\n```\nCorrected:\n```json\n{NORMAL}\n```"),
    ("repaired hate", f"```JSON\n{HATE}\n```"),
    ("repaired hate", f"```json\n{HATE}"),
    # quoting, braces, case
    ("repaired hate", "{'classification': 'hate'}"),
    ("repaired normal", "{'classification': 'normal', 'rationale': \"It's a recipe.\"}"),
    ("repaired hate", "{'classification': 'hate', 'rationale': 'a \\d b'}"),
    ("repaired hate", '{"classification": "HATE"}'),
    ("repaired normal", '{"classification": " Normal "}'),
    ("repaired hate", '{{"classification": "hate"}}'),
    ("repaired hate", '{"classification": "hate",}'),
    # harmony channels
    ("repaired hate", f"{FINAL}{HATE}"),
    ("repaired hate", f"<|channel|>final <|constrain|>JSON<|message|>{HATE}"),
    ("repaired hate", f"<|channel|>final<|constrain|>json<|message|>{HATE}"),
    ("repaired normal", f"<|channel|>analysis<|message|>{HATE}?<|end|><|start|>{FINAL}{NORMAL}"),
    ("repaired normal", f"<|channel|>final json<|message|>{NORMAL}"),
]  # fmt: skip
UNREADABLE = [
    ("invalid", ""),
    ("invalid", "hate"),
    ("invalid", "normal"),
    ("invalid", "This post is normal."),
    ("invalid", "The classification is hate: 'hate'."),
    ("invalid", "{}"),
    ("invalid", "[]"),
    ("invalid", '"hate"'),
    ("invalid", '["hate"]'),
    ("invalid", '{"label": "hate"}'),
    ("invalid", '{"classification": "hateful"}'),
    ("invalid", '{"classification": "offensive"}'),
    ("invalid", '{"classification": "not hate"}'),
    ("invalid", '{"classification": null}'),
    ("invalid", '{"classification": 1}'),
    ("invalid", '{"classification": ["hate"]}'),
    ("invalid", '{"classification": {"classification": "hate"}}'),
    ("invalid", '{"result": {"classification": "hate"}}'),
    ("invalid", '{"classification": "hate", "classification": "normal"}'),
    ("invalid", "{'classification': 'hate', 'classification': 'normal'}"),
    ("invalid", f'{HATE} or {NORMAL}: {{"classification": "hateful"}}'),
    ("invalid", "{[1]: 2}"),
    ("invalid", "{'classification': hate}"),
    ("invalid", '{"classification": "hate"'),
    ("invalid", f"<|channel|>analysis<|message|>The user wants {HATE}"),
    ("invalid", f"{FINAL}It is not clear.<|channel|>analysis<|message|>"),
    ("refusal", "I cannot help with that."),
    ("refusal", "I\u2019m sorry, but I can\u2019t classify this as normal."),
    ("refusal", "As an AI, I do not judge posts. Normal people differ."),
    ("refusal", '{"error": "I cannot help with this request"}'),
    ("refusal", f"{FINAL}I must decline."),
    ("refusal", "I am unable to classify the post as hate or normal."),
]  # fmt: skip
CUT_OFF = [
    ("truncated", ""),
    ("truncated", '{"classification": "ha'),
    ("truncated", '{"classification": "hate", "rationale": "It says that they'),
    ("truncated", "I'm sorry, but the post that you have shown to"),
    ("truncated", f"<|channel|>analysis<|message|>The user wants {HATE} or"),
    ("repaired hate", f"{HATE} and now I shall explain at length why"),
    ("valid normal", NORMAL),
]


def said(reading: ParsedReply) -> str:
    return " ".join(filter(None, (reading.outcome, reading.label)))


@pytest.mark.parametrize(("expected", "reply"), READABLE + UNREADABLE)
def test_a_finished_reply_has_the_outcome_of_the_table(expected: str, reply: str) -> None:
    assert said(read_reply(reply)) == expected


@pytest.mark.parametrize(("expected", "reply"), CUT_OFF)
def test_a_reply_that_was_cut_off_is_truncated_unless_it_had_answered(
    expected: str, reply: str
) -> None:
    assert said(read_reply(reply, cut_off=True)) == expected


def test_the_tables_cover_every_outcome() -> None:
    rows = READABLE + UNREADABLE + CUT_OFF
    assert len(rows) >= 40
    assert {expected.split()[0] for expected, _ in rows} == set(OUTCOMES)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("rationale", ["", "It wishes them harm.", 'A "quote" with {braces}.'])
def test_the_answers_that_are_trained_are_valid(label: Label, rationale: str) -> None:
    assert read_reply(answer_json(label, rationale)) == ParsedReply("valid", label, rationale)


def test_a_rationale_that_is_no_text_is_left_out() -> None:
    assert read_reply('{"classification": "hate", "rationale": ["a"]}').rationale == ""


def test_half_a_character_in_a_rationale_can_be_written_to_a_file() -> None:
    reading = read_reply('{"classification": "hate", "rationale": "a \\ud800 b"}')
    assert reading.label == "hate"
    assert reading.rationale.encode() == b"a ? b"


BROKEN = [
    "{" * 100_000,
    "{}" * 50_000,
    "{" * 50_000 + "}" * 50_000,
    '{"a":' * 20_000,
    '{"classification":' * 20_000 + "1" + "}" * 20_000,
    "{'a':" * 20_000 + "1" + "}" * 20_000,
    "[" * 100_000,
    "```" + " " * 100_000,
    "```" * 33_334,
    '{"' * 50_000,
    "\\" * 100_000,
    "{'a': " + "-" * 100_000 + "1}",
    "```\n" + "(" * 100_000 + "\n```",
    "<|channel|>final " + "a" * 100_000,
    '{"classification": "hate", "n": ' + "9" * 5_000 + "0}",
]


@pytest.mark.parametrize("reply", BROKEN, ids=lambda reply: reply[:12])
def test_a_long_broken_reply_has_no_label_and_stalls_nobody(reply: str) -> None:
    # With a scan per brace these took minutes; a stall shows as the suite's.
    reading = read_reply(reply)
    assert reading.label is None
    assert read_reply(reply + HATE[:-1], cut_off=True).label is None


def test_braces_are_matched_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from hsd.prompts import answers

    passes = []
    closings = answers._closings

    def counted(text: str) -> Any:
        passes.append(1)
        return closings(text)

    monkeypatch.setattr(answers, "_closings", counted)
    read_reply("{" * 1000)
    assert len(passes) == 1


@given(st.text(alphabet="{}\"'\\: ,abhate```\n", max_size=60))
@example('{"\\"}')
def test_no_text_around_an_answer_breaks_the_reader(noise: str) -> None:
    for reply in (noise, noise + HATE, HATE + noise):
        reading = read_reply(reply)
        assert (reading.label is None) == (reading.outcome not in ("valid", "repaired"))


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=4), st.text(max_size=9))
def test_the_end_of_an_object_is_where_json_says(content: dict[str, str], behind: str) -> None:
    text = json.dumps(content)
    assert object_end(f"So: {text}{behind}") == len(f"So: {text}")


@pytest.mark.parametrize(
    ("closed", "reply"),
    [
        (True, "{}"),
        (True, f"text {HATE}"),
        (False, "text"),
        (False, "}"),
        (False, '{"a": "}"'),
        (False, '{"a": {"b": 1}'),
        (False, f"<|channel|>analysis<|message|>{HATE}"),
        (True, f"<|channel|>analysis<|message|>{HATE}<|end|>{FINAL}{HATE}"),
        (False, f"<|channel|>analysis<|message|>{HATE}<|end|>{FINAL}{{"),
    ],
)
def test_an_answer_ends_when_its_first_object_closes(closed: bool, reply: str) -> None:
    assert (object_end(reply) is not None) == closed
