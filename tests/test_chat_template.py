"""Chat templates are foreign code: those that cannot be used are refused in one line."""

from pathlib import Path
from typing import Any

import pytest

from hsd.errors import ModelError
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract
from hsd.prompts.render import Renderer
from hsd.prompts.template import Strategy

pytestmark = pytest.mark.model

SYSTEM = Strategy(name="a", system_prompt="You detect hate speech.", user_template="Post: {text}")
PLAIN = Strategy(name="b", user_template="Post: {text}")

PHI4_MINI = (  # as it is in circulation: `tools` is defined, and None
    "{% if tools is defined %}{% for tool in tools %}{{ tool }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ '[INST] <<SYS>>' + m.content + "
    "'<</SYS>>' }}{% elif m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
)
ALPACA = (
    "<|im_start|>{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\n\n' }}"
    "{% else %}### {{ m.role }}:\n{{ m.content }}{{ '\n\n' if m.role == 'user' else '<|im_end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
SYSTEM_IN_PLAIN_TEXT = (
    "{% for m in messages %}{% if m.role == 'system' %}<|im_start|>user\n<<SYS>>{{ m.content }}"
    "<</SYS>>{% else %}{% if m.role != 'user' or loop.first %}<|im_start|>{{ m.role }}\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ZEPHYR = (  # marks that are text, behind a control token that ends each turn
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
OPEN_ENDED = (  # the generation prompt does not end the user's turn, an answer does
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '\n' }}<|im_start|>{{ m.content }}"
    "<|im_end|>{% else %}<|im_start|>{{ m.content }}{% endif %}{% endfor %}"
)


def renderer(template: Any, strategy: Strategy = SYSTEM) -> Renderer:
    import tiny

    tokenizer = tiny.tokenizer(template=template)
    return Renderer(tokenizer, Contract(template="t", strategy_name="s", strategy=strategy))


def asked(template: Any, strategy: Strategy = SYSTEM) -> str:
    """The prompt as a person reads it."""
    made = renderer(template, strategy)
    row = made.encode(make_chat(strategy, "1", "the bakery opens.", "hate"))
    return str(made._tokenizer.decode(row.prompt))


def refused(template: Any, strategy: Strategy = SYSTEM) -> str:
    """The one line that a template is refused with."""
    with pytest.raises(ModelError) as error:
        asked(template, strategy)
    line = str(error.value)
    assert "\n" not in line
    assert line.endswith(".")
    return line


@pytest.mark.parametrize("names", [("rag", "tool_use"), ("tool_use",), ()])
def test_chat_templates_of_which_none_is_the_default_are_named_in_one_line(
    names: tuple[str, ...],
) -> None:
    import tiny

    line = refused(dict.fromkeys(names, tiny.CHATML))
    assert f"({', '.join(names)})" in line
    assert "save the one to ask with as chat_template.jinja" in line


def test_the_advice_for_several_chat_templates_works(tmp_path: Path) -> None:
    import tiny
    from transformers import AutoTokenizer

    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = {"rag": tiny.CHATML, "tool_use": tiny.CHATML}
    tokenizer.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert set(read.chat_template) == {"rag", "tool_use"}
    (tmp_path / "chat_template.jinja").write_text(tiny.CHATML, encoding="utf-8")
    read = AutoTokenizer.from_pretrained(tmp_path)
    contract = Contract(template="t", strategy_name="s", strategy=PLAIN)
    assert Renderer(read, contract).encode(make_chat(PLAIN, "1", "a")).prompt


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (PHI4_MINI, "TypeError: 'NoneType' object is not iterable"),
        ("{{ settings.mode }}", "'settings' is undefined"),
        ("{{ messages[0].content.removed() }}", "has no attribute 'removed'"),
        ("{{ messages[0].content + 1 }}", "TypeError: "),
        ("{{ messages[9]['content'] }}", "no element 9"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ '%d' % 'a' }}", "TypeError: "),
        ("{{ 'a'.encode('no such') }}", "LookupError: unknown encoding"),
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("{{ 'open", "unexpected char"),
        ("{% include 'other' %}", "TypeError: no loader for this environment specified"),
        ("{{ raise_exception('no\nchats\nhere.') }}", "fails: no chats here;"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "RecursionError: "),
    ],
)
def test_whatever_a_chat_template_runs_into_is_one_line(template: str, said: str) -> None:
    line = refused(template)
    assert line.startswith("the base's chat template fails: ")
    assert said in line
    assert line.endswith("put a chat template for plain chats into its folder as "
                         "chat_template.jinja.")  # fmt: skip


@pytest.mark.parametrize("template", [LLAMA2, ALPACA])
@pytest.mark.parametrize("strategy", [SYSTEM, PLAIN])
def test_a_template_whose_turns_a_post_could_pose_as_is_refused(
    template: str, strategy: Strategy
) -> None:
    line = refused(template, strategy)
    assert "parts user turn and answer by plain text ('" in line
    assert line.endswith("tokens, as Llama 3, Qwen and Mistral from v0.3 on do.")


def test_where_only_the_system_turn_is_plain_text_a_strategy_without_one_works() -> None:
    line = refused(SYSTEM_IN_PLAIN_TEXT)
    assert "parts system and user turn by plain text ('<</SYS>>')" in line
    assert line.endswith("or a strategy without a system prompt.")
    assert asked(SYSTEM_IN_PLAIN_TEXT, PLAIN).endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_marks_of_text_do_no_harm_behind_a_control_token_that_ends_the_turn() -> None:
    assert asked(ZEPHYR).endswith("Post: the bakery opens.<|im_end|>\n<|assistant|>\n")


def test_a_users_turn_that_the_generation_prompt_leaves_open_is_ended_as_before_an_answer() -> None:
    assert asked(OPEN_ENDED).endswith("Post: the bakery opens.\n<|im_start|>")


# Bases that are asked otherwise than their makers ask them


@pytest.mark.parametrize(
    ("control", "template", "left_out"),
    [
        ("GEMMA4_CONTROL", "GEMMA4", r"'<|channel>thought\n<channel|>'"),
        ("THINKING_CONTROL", "THINKING", None),  # two line ends are two tokens here
        ("CONTROL", "CHATML", None),
        ("HARMONY_CONTROL", "HARMONY", None),
    ],
)
def test_what_a_generation_prompt_has_and_the_prompt_has_not_is_said(
    control: str, template: str, left_out: str | None
) -> None:
    import tiny

    names = getattr(tiny, control)
    tokenizer = tiny.tokenizer(names, getattr(tiny, template), names[2])
    made = Renderer(tokenizer, Contract(template="t", strategy_name="s", strategy=SYSTEM))
    note = made.note(has_system=True)
    assert (note is None) == (left_out is None)
    assert left_out is None or left_out in str(note)


def test_a_token_that_prompt_and_answer_share_is_said_too() -> None:
    import tiny

    contract = Contract(template="t", strategy_name="s", strategy=SYSTEM)
    note = Renderer(tiny.thinking_tokenizer(), contract).note(has_system=True)
    assert note is not None
    assert r"ends its prompt with '\n'" in note
    assert "the untouched base is asked otherwise than its makers ask it" in note


# Templates that change, lie or do not end

BODY = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if m.content and "
    "CONDITION %} no{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_draws_at_random_is_refused() -> None:
    line = refused("{{ range(100000)|random }}" + BODY.replace("CONDITION", "false"))
    assert "writes another prompt each time it is run" in line


@pytest.mark.parametrize(
    "condition",
    [
        "'HSDSLOT' not in m.content",
        "'HSDSLOT' in m.content",
        "'hate speech' in m.content and m.role == 'system'",
        "'Post: ' in m.content",
        "m.role == 'assistant' and 'hate' in m.content",
        "m.content|length > 30",
    ],
)
def test_a_template_that_behaves_otherwise_around_real_words_is_refused(condition: str) -> None:
    line = refused(BODY.replace("CONDITION", condition))
    assert "writes something else around the words of a chat" in line


def test_a_template_that_trims_its_turns_is_no_liar() -> None:
    template = BODY.replace("CONDITION", "false").replace("{{ m.content }}", "{{ m.content|trim }}")
    spaced = Strategy(name="a", system_prompt=" Say it.\n", user_template="Post: {text}\n\n")
    assert asked(template, spaced).endswith("<|im_start|>assistant\n")


def test_a_template_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsd.prompts.chat_template.SECONDS", 0.2)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    assert "fails: TimeoutError: it has not ended after 0.2 seconds of computing; " in refused(
        loops
    )


def test_a_template_that_writes_without_measure_is_refused() -> None:
    assert "it writes 2,000,000 characters" in refused("{{ 'a' * 2000000 }}")
