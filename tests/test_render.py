"""The renderer: what a model reads is what its chat template says, and a post is only text."""

import re
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from present import present

from hsd.errors import DataError, ModelError
from hsd.prompts import chat as chats
from hsd.prompts.answers import ParsedReply, read_reply
from hsd.prompts.chat import Chat, make_chat
from hsd.prompts.chat_template import with_date
from hsd.prompts.contract import Contract, make_contract
from hsd.prompts.render import Renderer
from hsd.prompts.template import Strategy, load_template
from hsd.prompts.token_limit import TokenLimit

pytestmark = pytest.mark.model

STRATEGY = Strategy(
    name="Plain", system_prompt="You detect hate speech.", user_template="Classify. Post: {text}"
)
FRAMED = Strategy(name="Framed", user_template="Post: <{text}> Answer with JSON:")
CONTRACT = Contract(template="t", strategy_name="s", strategy=STRATEGY)
FRAMED_CONTRACT = Contract(template="t", strategy_name="f", strategy=FRAMED)

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
TRIM = (
    "{% for m in messages %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (  # says what comes next by what was said, and answers without the thinking
    "{% for m in messages %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if messages[-1]['content'] | length > 3 %}think:\n{% endif %}{% endif %}"
)
EMPTY_THOUGHT = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|im_start|>assistant\n"
    "<think>\n\n</think>\n\n{{ m['content'] }}<|im_end|>\n{% else %}" + TURN + "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
COLON = (  # the space before an answer is one token with the answer's first sign
    "{% for m in messages %}<|im_start|>{{ m['role'] }}: {{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
)


def tokenizers() -> dict[str, Any]:
    import tiny

    return {
        "chatml": tiny.tokenizer(),
        "harmony": tiny.tokenizer(tiny.HARMONY_CONTROL, tiny.HARMONY, "<|return|>"),
        "trim": tiny.tokenizer(template=TRIM),
        "no system": tiny.tokenizer(template=NO_SYSTEM),
        "thinking": tiny.tokenizer(template=THINKING),
        "empty thought": tiny.tokenizer(template=EMPTY_THOUGHT),
        "thought in a token": tiny.thinking_tokenizer(),
        "colon": tiny.tokenizer(template=COLON),
    }


FAMILIES = (
    "chatml", "harmony", "trim", "no system", "thinking", "empty thought", "thought in a token",
    "colon",
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80).filter(str.strip)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    found = tokenizers()
    assert tuple(found) == FAMILIES
    return found


@pytest.fixture(scope="module")
def renderers(made: dict[str, Any]) -> dict[str, Renderer]:
    return {name: Renderer(tokenizer, CONTRACT) for name, tokenizer in made.items()}


def whole(tokenizer: Any, chat: Chat, *, answered: bool, system: bool = True) -> list[int]:
    """The ids as any other program would make them: render all, then tokenise all."""
    user = chat.user if system else f"{chat.system}\n\n{chat.user}"
    turns = [{"role": "user", "content": user}]
    if chat.system and system:
        turns.insert(0, {"role": "system", "content": chat.system})
    if answered:
        turns.append({"role": "assistant", "content": chat.answer or ""})
    text = tokenizer.apply_chat_template(
        turns,
        tokenize=False,
        add_generation_prompt=not answered,
        enable_thinking=False,
        chat_template=with_date(tokenizer.chat_template, CONTRACT.chat_date),
    )
    return list(tokenizer.encode(text, add_special_tokens=False))


ORDINARY = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("family", FAMILIES)
@ORDINARY
@given(post=TEXTS, label=st.sampled_from(["hate", "normal"]))
@example(post="the new bakery 🥐 opens\n\nat 9, don't miss it", label="normal")
def test_taken_apart_and_whole_give_the_same_ids(
    family: str, post: str, label: Any, made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    tokenizer = made[family]
    assume(not any(token in post for token in tokenizer.all_special_tokens))
    chat = make_chat(STRATEGY, "1", post, label)
    encoded = renderers[family].encode(chat)
    ours = encoded.prompt + encoded.answer
    expected = whole(tokenizer, chat, answered=True, system=family != "no system")
    assert expected[: len(ours)] == ours
    assert tokenizer.decode(expected[len(ours) :]).strip() == ""


@pytest.mark.parametrize("family", FAMILIES)
@ORDINARY
@given(post=TEXTS)
def test_prompt_ids_are_a_prefix_of_prompt_and_answer_ids(
    family: str, post: str, renderers: dict[str, Renderer]
) -> None:
    asked = renderers[family].encode(make_chat(STRATEGY, "1", post))
    learned = renderers[family].encode(make_chat(STRATEGY, "1", post, "hate"))
    assert asked.prompt == learned.prompt
    assert asked.answer == []
    assert learned.answer[-1] == renderers[family].stop_ids()[0]


@pytest.mark.parametrize("family", ["chatml", "trim", "harmony", "empty thought"])
def test_a_prompt_is_what_the_template_asks_with(
    family: str, made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    chat = make_chat(STRATEGY, "1", "the bakery opens")
    assert renderers[family].encode(chat).prompt == whole(made[family], chat, answered=False)


@pytest.mark.parametrize(
    ("family", "end", "answer"),
    [
        ("thought in a token", "<think>", "\n\n</think>\n\n{words}<|im_end|>"),
        ("colon", "assistant:", " {words}<|im_end|>"),
    ],
)
def test_where_prompt_and_answer_meet_in_a_token_the_answer_has_it(
    family: str, end: str, answer: str, made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    chat = make_chat(STRATEGY, "1", "the bakery opens", "hate")
    row, decode = renderers[family].encode(chat), made[family].decode
    asked = whole(made[family], chat, answered=False)
    assert row.prompt == asked[:-1], "all but the token that the answer makes another one"
    assert decode(row.prompt).endswith(end)
    assert decode(row.answer) == answer.replace("{words}", str(chat.answer))
    assert renderers[family].opening_text(has_system=True) == answer.partition("{")[0]
    assert row.prompt + row.answer == whole(made[family], chat, answered=True)[:-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_reads_as_it_was_learned(
    family: str, made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    row = renderers[family].encode(make_chat(STRATEGY, "1", "they are all liars", "hate"))
    reply = made[family].decode(row.answer[:-1])
    opening = renderers[family].opening_text(has_system=True)
    assert reply.startswith(opening)
    assert read_reply(reply.removeprefix(opening)) == ParsedReply("valid", "hate")


def test_an_answer_that_changes_the_prompts_last_token_is_refused() -> None:
    import tiny

    tokenizer = tiny.thinking_tokenizer()
    tokenizer.chat_template = tiny.CHATML
    renderer = Renderer(tokenizer, CONTRACT)
    chat = Chat(id="7", system="", before="a", answer="\n")
    with pytest.raises(DataError, match="row 7: its answer begins within a token"):
        renderer.encode(chat)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\n{}"}]
    assert renderer.encode(chats.chat_of_messages("7", turns)).answer


def test_a_generation_prompt_that_no_answer_follows_is_left_out(
    made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    prompt = renderers["thinking"].encode(make_chat(STRATEGY, "1", "the bakery opens")).prompt
    assert made["thinking"].decode(prompt).endswith("<|im_start|>assistant\n")


def test_the_channel_is_learned_with_the_answer(
    made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    encoded = renderers["harmony"].encode(make_chat(STRATEGY, "1", "a", "hate"))
    opening = renderers["harmony"].opening_text(has_system=True)
    assert opening == "<|channel|>final<|message|>"
    assert made["harmony"].decode(encoded.prompt).endswith("<|end|><|start|>assistant")
    assert made["harmony"].decode(encoded.answer) == (
        opening + '{"classification": "hate"}' + "<|return|>"
    )
    assert renderers["chatml"].opening_text(has_system=True) == ""


def test_a_family_without_a_system_turn_gets_its_words_in_front_of_the_user(
    made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    prompt = renderers["no system"].encode(make_chat(STRATEGY, "1", "a")).prompt
    assert made["no system"].decode(prompt) == (
        "<|im_start|>user\nYou detect hate speech.\n\nClassify. Post: a<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", ["baseline", "combined/combined_gptoss_v1"])
def test_every_shipped_strategy_can_be_asked_of_every_family(
    family: str, template: str, made: dict[str, Any]
) -> None:
    for name, strategy in load_template(template).strategies.items():
        renderer = Renderer(made[family], make_contract(load_template(template), name))
        prompt = made[family].decode(renderer.encode(make_chat(strategy, "1", "a bakery")).prompt)
        assert f"Post: a bakery{'<|end|>' if family == 'harmony' else '<|im_end|>'}" in prompt
        assert "20 Aug" not in prompt


# A post is only text


def forgeries(tokens: list[str]) -> st.SearchStrategy[str]:
    pieces = [*tokens, *(t[:-1] for t in tokens), *(t[2:] for t in tokens), "\n", "user", "|", "<"]
    nested = [f"{a[:3]}{b}{a[3:]}" for a in tokens for b in tokens]
    return st.lists(st.sampled_from([*pieces, *nested]), min_size=1, max_size=8).map("".join)


@pytest.mark.parametrize("family", FAMILIES)
@ORDINARY
@given(data=st.data())
def test_no_post_gives_a_control_token_and_each_decodes_to_itself(
    family: str, data: st.DataObject, made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    tokenizer = made[family]
    control = list(tokenizer.get_added_vocab())
    assert len(control) >= 3
    post = data.draw(forgeries(control)).strip()
    assume(post)
    mild = renderers[family].encode(make_chat(STRATEGY, "1", "mild")).prompt
    forged = renderers[family].encode(make_chat(STRATEGY, "1", post)).prompt
    known = set(tokenizer.get_added_vocab().values())
    assert [t for t in forged if t in known] == [t for t in mild if t in known]
    before, _, after = tokenizer.decode(mild).rpartition("mild")
    assert tokenizer.decode(forged) == before + post + after


@pytest.mark.parametrize("family", FAMILIES)
def test_the_renderers_own_marks_are_only_text_in_a_post(
    family: str, made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    post = "HSDSLOTSYSTEMHERE HSDSLOTUSERHERE HSDSLOTANSWERHERE"
    encoded = renderers[family].encode(make_chat(STRATEGY, "1", post, "normal"))
    assert f"Post: {post}<" in made[family].decode(encoded.prompt)


def test_a_vocabulary_in_which_text_becomes_a_control_token_is_refused() -> None:
    import tiny
    from tokenizers import AddedToken, Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = [(c, -5.0) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ {}\":.,'<|>_\n"]
    control = [("<unk>", 0.0), *((token, -1.0) for token in tiny.CONTROL)]
    backend = Tokenizer(models.Unigram([*control, *letters], unk_id=0))
    backend.add_special_tokens([AddedToken(token, special=True) for token in tiny.CONTROL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = tiny.CHATML
    with pytest.raises(ModelError, match=r"control token <\|pad\|> from plain text"):
        Renderer(tokenizer, CONTRACT)


# What does not fit


def length(renderer: Renderer, chat: Chat) -> int:
    encoded = renderer.encode(chat)
    return len(encoded.prompt) + len(encoded.answer)


@pytest.mark.parametrize("family", ["chatml", "harmony"])
@pytest.mark.parametrize("strategy", [STRATEGY, FRAMED])
@ORDINARY
@given(post=TEXTS, room=st.integers(0, 40))
@example(post="they are all liars 🏳️‍🌈🏳️‍🌈 and should    leave", room=12)
@example(post="🏳️‍🌈" * 9, room=3)
def test_a_long_post_loses_its_end_and_nothing_else_does(
    family: str,
    strategy: Strategy,
    post: str,
    room: int,
    made: dict[str, Any],
    renderers: dict[str, Renderer],
) -> None:
    renderer, decode = renderers[family], made[family].decode
    chat = make_chat(strategy, "1", post, "hate")
    most = length(renderer, make_chat(strategy, "1", "", "hate")) + room
    assume(length(renderer, chat) > most)
    full = renderer.encode(chat)
    try:
        short = renderer.encode(chat, most)
    except DataError:
        one = make_chat(strategy, "1", present(chat.post)[:1], "hate")
        assert length(renderer, one) > most - 8, "a character of a post would have fitted"
        return
    assert short.shortened
    assert not full.shortened
    assert short.answer == full.answer
    assert len(short.prompt) + len(short.answer) <= most
    before, _, after = decode(full.prompt).rpartition(chat.post)
    shown = decode(short.prompt)
    assert shown.startswith(before)
    assert shown.endswith(after)
    kept = shown[len(before) : len(shown) - len(after)]
    assert chat.post is not None
    assert chat.post.startswith(kept)
    assert 0 < len(kept) < len(chat.post)
    assert (full.post, short.post) == (chat.post, kept)


def test_the_longest_post_that_fits_is_kept(
    made: dict[str, Any], renderers: dict[str, Renderer]
) -> None:
    renderer = renderers["chatml"]
    post = "the new bakery opens on monday   and my neighbours cook, 🥐 they should all be there"
    chat = make_chat(STRATEGY, "1", post, "hate")
    cuts = [post[:at].rstrip() for at in range(1, len(post))]
    lengths = {cut: length(renderer, make_chat(STRATEGY, "1", cut, "hate")) for cut in cuts}
    for most in range(min(lengths.values()), length(renderer, chat)):
        shown = made["chatml"].decode(renderer.encode(chat, most).prompt)
        kept = shown.partition("Post: ")[2].partition("<|im_end|>")[0]
        assert kept == max((cut for cut in cuts if lengths[cut] <= most), key=len)


def test_a_post_that_fits_is_whole(renderers: dict[str, Renderer]) -> None:
    chat = make_chat(STRATEGY, "1", "the bakery opens", "hate")
    exact = length(renderers["chatml"], chat)
    assert not renderers["chatml"].encode(chat, exact).shortened
    assert renderers["chatml"].encode(chat, exact - 1).shortened


@pytest.mark.parametrize("most", [1, 5, 20])
def test_a_prompt_that_does_not_fit_without_the_post_is_refused(
    most: int, renderers: dict[str, Renderer]
) -> None:
    with pytest.raises(DataError, match=r"row 7: the prompt has \d+ tokens without the post"):
        renderers["chatml"].encode(make_chat(STRATEGY, "7", "a bakery", "hate"), most)


def test_what_is_said_to_make_room_for_a_post_makes_room(renderers: dict[str, Renderer]) -> None:
    chat = make_chat(STRATEGY, "7", "a bakery", "hate")
    with pytest.raises(DataError, match=r"raise max_length to \d+ or more") as refused:
        renderers["chatml"].encode(chat, 20)
    (enough,) = re.findall(r"to (\d+) or more", str(refused.value))
    assert renderers["chatml"].encode(chat, int(enough)).post


def test_a_prompt_beyond_the_models_positions_asks_for_no_more_max_length(
    renderers: dict[str, Renderer],
) -> None:
    chat = make_chat(STRATEGY, "7", "a bakery", "hate")
    said = (
        "so no post fits in the model's 20 positions less 4 for the reply; --max-length cannot "
        "raise the model's 20 positions, so take a base with more, or take a shorter strategy "
        "(--strategy or --prompt-template; in a training's config prompt.strategy)."
    )
    for asked in (8000, 10):
        with pytest.raises(DataError) as refused:
            renderers["chatml"].encode(chat, TokenLimit(asked, "--max-length", 20, 4))
        assert "raise --max-length" not in str(refused.value)
        assert (asked == 10) or str(refused.value).endswith(said)


def test_a_long_row_fails_where_cutting_is_not_wanted(renderers: dict[str, Renderer]) -> None:
    chat = make_chat(STRATEGY, "7", "a bakery " * 30, "hate")
    with pytest.raises(DataError, match=r"row 7: \d+ tokens are more than max_length 60"):
        renderers["chatml"].encode(chat, 60, shorten=False)


def test_a_row_whose_post_is_unknown_is_never_cut(renderers: dict[str, Renderer]) -> None:
    chat = Chat(id="7", system="", before="Is this fine? " * 30, answer="{}")
    with pytest.raises(DataError, match="row 7: .* more than max_length 60"):
        renderers["chatml"].encode(chat, 60)


# Many rows


class Heard:
    """A tokenizer that remembers which texts it was given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.texts: list[str] = []

    def encode(self, text: str, **settings: Any) -> Any:
        self.texts.append(text)
        return self.tokenizer.encode(text, **settings)


@pytest.mark.parametrize("family", ["chatml", "harmony"])
@pytest.mark.parametrize("rows", [1, 60])
def test_the_words_ahead_of_the_post_and_the_answers_are_tokenised_once_for_all_rows(
    family: str, rows: int, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = Renderer(made[family], CONTRACT)
    renderer.encode(make_chat(STRATEGY, "0", "the first of all", "hate"))
    heard = Heard(renderer._plain)
    monkeypatch.setattr(renderer, "_plain", heard)
    for number in range(rows):
        renderer.encode(make_chat(STRATEGY, "1", f"post {number}", "hate"))
    assert [text.partition("Post: ")[2] for text in heard.texts] == [
        f"post {number}" for number in range(rows)
    ]


def test_rows_say_what_they_were_asked_with_in_one_object_for_all(
    renderers: dict[str, Renderer],
) -> None:
    encode = renderers["chatml"].encode
    rows = [encode(make_chat(STRATEGY, f"{n}", "the bakery opens " * n)) for n in (1, 2)]
    cut = encode(make_chat(STRATEGY, "3", "a bakery " * 30), 60)
    assert cut.shortened
    assert rows[0].asked == ("You detect hate speech.", "Classify. Post: ")
    assert rows[1].asked is rows[0].asked is cut.asked
    assert encode(make_chat(FRAMED, "4", "a bakery")).asked == ("", "Post: <")


def test_a_row_whose_post_is_unknown_is_asked_with_its_system_turn(
    renderers: dict[str, Renderer],
) -> None:
    chats_ = [Chat(id="7", system="Sort.", before=f"Is {word} fine?") for word in ("this", "that")]
    rows = [renderers["chatml"].encode(chat) for chat in chats_]
    assert [row.asked for row in rows] == [("Sort.", "")] * 2
    assert [row.post for row in rows] == [None] * 2


# The date, and templates that cannot be used


def test_tomorrow_gives_the_same_ids(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import chat_template_utils

    class Tomorrow(chat_template_utils.datetime):
        @classmethod
        def now(cls) -> Any:
            return cls(2031, 1, 2)

    chat = make_chat(STRATEGY, "1", "a bakery", "hate")
    today = Renderer(made["harmony"], CONTRACT).encode(chat)
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    fresh = tokenizers()["harmony"]
    shown = fresh.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert Renderer(fresh, CONTRACT).encode(chat) == today
    assert "date: 2025-08-05\n" in fresh.decode(today.prompt)
    assert "date: 2025-08-05\n" not in shown, "the template asks for today's date"


def test_another_date_in_the_contract_gives_other_ids(made: dict[str, Any]) -> None:
    chat = make_chat(STRATEGY, "1", "a bakery")
    later = CONTRACT.model_copy(update={"chat_date": date(2026, 1, 2)})
    prompts = [Renderer(made["harmony"], contract).encode(chat) for contract in (CONTRACT, later)]
    assert prompts[0] != prompts[1]


@pytest.mark.parametrize(
    ("template", "dated"),
    [
        ("{{ strftime_now('%Y-%m-%d') }}", "{{ '2025-08-05' }}"),
        ('{{ strftime_now("%d %b %Y") }}', "{{ '05 Aug 2025' }}"),
        ("{{ strftime_now( '%Y' ) }}", "{{ '2025' }}"),
        (
            "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}",
            "{% if strftime_now is defined %}{{ '2025' }}{% endif %}",
        ),
    ],
)
def test_the_pinned_date_is_written_where_todays_would_be(template: str, dated: str) -> None:
    assert with_date(template, CONTRACT.chat_date) == dated


def test_a_date_that_cannot_be_pinned_is_refused() -> None:
    with pytest.raises(ModelError, match="tomorrow's prompt"):
        with_date("{% set f = '%Y' %}{{ strftime_now(f) }}", CONTRACT.chat_date)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no chats here') }}", "chat template fails: no chats here"),
        ("{% for m in messages %}{{ m['role'] }}{% endfor %}", "does not show an assistant turn"),
        (
            "{% for m in messages %}{% if m['role'] != 'system' %}" + TURN + "{% endif %}"
            "{% endfor %}",
            r"shows the turns \['user'\]",
        ),
        (
            "{% for m in messages %}" + TURN + "{% endfor %}{{ messages[-1]['content'] }}",
            "does not show an assistant turn",
        ),
    ],
)
def test_a_chat_template_that_loses_words_is_refused(template: str, said: str) -> None:
    import tiny

    renderer = Renderer(tiny.tokenizer(template=template), CONTRACT)
    with pytest.raises(ModelError, match=said):
        renderer.encode(make_chat(STRATEGY, "1", "a"))


def test_of_several_chat_templates_the_default_one_counts(made: dict[str, Any]) -> None:
    import tiny

    several = tiny.tokenizer()
    several.chat_template = {"default": tiny.CHATML, "tools": "{{ 'nothing' }}"}
    chat = make_chat(STRATEGY, "1", "a bakery")
    assert Renderer(several, CONTRACT).encode(chat) == Renderer(made["chatml"], CONTRACT).encode(
        chat
    )


def test_the_stop_token_is_the_templates_and_eos_ends_a_reply_too(made: dict[str, Any]) -> None:
    import tiny

    other = tiny.tokenizer((*tiny.CONTROL, "</s>"), stop="</s>")
    end, eos = (other.convert_tokens_to_ids(token) for token in ("<|im_end|>", "</s>"))
    assert Renderer(other, CONTRACT).stop_ids() == (end, eos)
    assert Renderer(made["chatml"], CONTRACT).stop_ids() == (made["chatml"].eos_token_id,)


def test_training_and_evaluation_have_one_chat() -> None:
    assert chats.chat_messages(STRATEGY, " a ", "hate")[1]["content"] == (
        make_chat(STRATEGY, "1", " a ").user
    )
