"""Added tokens: what the chat template marks turns with stays out of posts, words stay words."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hsd.errors import ModelError
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract
from hsd.prompts.render import Renderer
from hsd.prompts.template import Strategy

pytestmark = pytest.mark.model

STRATEGY = Strategy(
    name="Plain", system_prompt="You detect hate speech.", user_template="P: {text}"
)
CONTRACT = Contract(template="t", strategy_name="s", strategy=STRATEGY)
MILD = "the bakery <user> <number> opens"

WORDS: dict[str, list[dict[str, Any]]] = {
    "as they are": [{"content": w} for w in ("<user>", "<number>", "bakery", "@USER", "🥐")],
    "with the space around": [
        {"content": "<user>", "lstrip": True},
        {"content": "<number>", "rstrip": True},
        {"content": "bakery", "lstrip": True, "rstrip": True},
    ],
    "as single words": [
        {"content": "bake", "single_word": True},
        {"content": "user", "single_word": True},
        {"content": "<number>", "single_word": True},
    ],
    "not normalised": [{"content": w, "normalized": False} for w in ("<user>", "bakery", "<")],
    "one in another": [{"content": w} for w in ("<user>", "<user> <number>", "user", "bake")],
    "parts of a mark": [{"content": w} for w in ("|im_", "start|>", "im_end|")],
    "names of roles": [{"content": w} for w in ("user", "system", "assistant", "start")],
}


def with_words(words: Iterable[dict[str, Any]], tokenizer: Any = None) -> Any:
    """A tokenizer to which people added words, as `tokenizer.add_tokens` does."""
    import tiny
    from tokenizers import AddedToken

    made = tokenizer or tiny.tokenizer()
    made.add_tokens([AddedToken(**{"special": False} | word) for word in words])
    return made


def unmarked(tokenizer: Any, **changes: Any) -> Any:
    """The same tokenizer, of whose added tokens none is marked as special."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in content["added_tokens"]:
        token |= {"special": False} | changes
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), eos_token=tokenizer.eos_token
    )
    made.chat_template = tokenizer.chat_template
    return made


def whole(tokenizer: Any, post: str) -> list[int]:
    """The prompt's ids as the library makes them: all rendered, then all encoded."""
    turns = [
        {"role": "system", "content": STRATEGY.system_prompt},
        {"role": "user", "content": f"P: {post}"},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


def prompt(tokenizer: Any, post: str) -> list[int]:
    return Renderer(tokenizer, CONTRACT).encode(make_chat(STRATEGY, "1", post)).prompt


@cache
def made(kind: str) -> tuple[Any, Renderer]:
    tokenizer = with_words(WORDS[kind])
    return tokenizer, Renderer(tokenizer, CONTRACT)


@pytest.mark.parametrize("kind", WORDS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_added_words_are_encoded_in_posts_as_the_library_encodes_them(
    kind: str, data: st.DataObject
) -> None:
    tokenizer, renderer = made(kind)
    pieces = [word["content"] for word in WORDS[kind]]
    pieces += [
        "bakery",
        "baker",
        "user",
        "users",
        "<number>",
        "a",
        "<",
        ">",
        "|im",
        ".",
        "  ",
        "\n",
    ]
    drawn = data.draw(st.lists(st.sampled_from([*pieces, " "]), min_size=1, max_size=8))
    post = "a" + "".join(drawn).strip()
    assume(not any(token in post for token in tokenizer.all_special_tokens))
    found = renderer.encode(make_chat(STRATEGY, "1", post)).prompt
    assert found == whole(tokenizer, post)


@pytest.mark.parametrize("kind", WORDS)
def test_an_added_word_keeps_its_own_id(kind: str) -> None:
    tokenizer = with_words(WORDS[kind])
    for word in WORDS[kind]:
        id = tokenizer.convert_tokens_to_ids(word["content"])
        assert id in prompt(tokenizer, f"the {word['content']} opens")


def test_words_are_found_in_normalised_text() -> None:
    import tiny
    from tokenizers import normalizers

    tokenizer = tiny.tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with_words([{"content": "<user>"}, {"content": "Bakery", "normalized": False}], tokenizer)
    for post in ("the <USER> <User> bakery Bakery BAKERY", "Bakery <uSER>"):
        assert prompt(tokenizer, post) == whole(tokenizer, post)
        assert tokenizer.convert_tokens_to_ids("<user>") in prompt(tokenizer, post)


def test_words_between_control_tokens_keep_their_ids() -> None:
    """The library numbers added tokens by their order: none may be taken out."""
    from tokenizers import AddedToken

    tokenizer = with_words([{"content": "<user>"}])
    tokenizer.add_tokens([AddedToken("<|later|>", special=True)], special_tokens=True)
    tokenizer = with_words([{"content": "<number>"}], tokenizer)
    assert prompt(tokenizer, MILD) == whole(tokenizer, MILD)


def test_words_that_are_marked_as_special_stay_out_of_posts() -> None:
    tokenizer = with_words([{"content": "<user>", "special": True}])
    assert tokenizer.convert_tokens_to_ids("<user>") not in prompt(tokenizer, MILD)
    assert MILD in tokenizer.decode(prompt(tokenizer, MILD))


def test_a_word_inside_a_control_token_of_a_post_is_only_that_word() -> None:
    tokenizer = with_words([{"content": "start"}])
    ids = prompt(tokenizer, "a <|im_start|> b")
    assert ids.count(tokenizer.convert_tokens_to_ids("start")) == 1
    assert "P: a <|im_start|> b<|im_end|>" in tokenizer.decode(ids)


TOOLS = (  # as Qwen: some of what marks turns is not special, and is not in every chat
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'tool' %}{{ '<tool_response>\n' + m['content'] + '\n</tool_response>' }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{{ '<' + 'think' + '>' }}\n{% endif %}"
)
MARKS = ("<tool_response>", "</tool_response>", "<think>", "<|fim_prefix|>", "<|im_end|>")


@pytest.mark.parametrize("post", [*MARKS, f"a{''.join(MARKS)} b", "a <tool_response>\nb"])
def test_what_the_template_marks_with_stays_text_in_a_post_special_or_not(post: str) -> None:
    import tiny

    control = (*tiny.CONTROL, *MARKS[:4])
    tokenizer = unmarked(tiny.tokenizer(control, TOOLS))
    with_words([{"content": "<user>"}], tokenizer)
    ids = prompt(tokenizer, f"{post} <user>")
    mild = prompt(tokenizer, "a <user>")
    known = set(tokenizer.get_added_vocab().values())
    assert [id for id in ids if id in known] == [id for id in mild if id in known]
    assert f"P: {post} <user><|im_end|>" in tokenizer.decode(ids)


def test_a_word_in_the_templates_own_prose_stays_a_word() -> None:
    import tiny

    template = "<|im_start|>system\nThe bakery opens.<|im_end|>\n" + tiny.CHATML
    tokenizer = with_words([{"content": "bakery"}], tiny.tokenizer(template=template))
    assert prompt(tokenizer, MILD) == whole(tokenizer, MILD)
    assert prompt(tokenizer, MILD).count(tokenizer.convert_tokens_to_ids("bakery")) == 2


def test_a_template_of_unmarked_tokens_that_posts_can_have_is_refused() -> None:
    """A Unigram vocabulary holds them as pieces: plain text gives their ids."""
    import tiny
    from tokenizers import AddedToken, Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = [(c, -5.0) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ {}\":.,'<|>_\n"]
    control = [("<unk>", 0.0), *((token, -1.0) for token in tiny.CONTROL)]
    backend = Tokenizer(models.Unigram([*control, *letters], unk_id=0))
    backend.add_tokens([AddedToken(token, special=False) for token in tiny.CONTROL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.chat_template = tiny.CHATML
    with pytest.raises(ModelError, match="by plain text .* which a post may contain"):
        prompt(tokenizer, MILD)


@pytest.mark.parametrize("flags", [{"rstrip": True}, {"lstrip": True}])
def test_control_tokens_that_swallow_space_give_the_librarys_ids(flags: dict[str, Any]) -> None:
    import tiny

    tokenizer = unmarked(tiny.tokenizer(), special=True, **flags)
    assert prompt(tokenizer, MILD) == whole(tokenizer, MILD)


def test_a_tokenizer_that_is_not_fast_is_refused_in_one_line() -> None:
    from types import SimpleNamespace

    import tiny

    slow = SimpleNamespace(chat_template=tiny.CHATML, get_chat_template=lambda: tiny.CHATML)
    with pytest.raises(ModelError, match=r"no fast tokenizer.*tokenizer\.json"):
        Renderer(slow, CONTRACT)
