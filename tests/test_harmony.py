"""gpt-oss's chat format (harmony): what hsd writes in it, and what it reads out of it.

`RELEASED` writes what the released chat template writes for a chat without tools. The golden file
says where both are from.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

import small_runs  # noqa: E402
import tiny  # noqa: E402

from hsd.config.evaluate_config import EvalConfig  # noqa: E402
from hsd.data.prepare import prepare  # noqa: E402
from hsd.data.prepared_data import Preparation  # noqa: E402
from hsd.data.source_formats import Source  # noqa: E402
from hsd.errors import ConfigError  # noqa: E402
from hsd.evaluation.answer_rows import parsed_reply  # noqa: E402
from hsd.evaluation.evaluation_plan import plan_evaluation  # noqa: E402
from hsd.inference.replies import Closing, Reply, read_tokens  # noqa: E402
from hsd.prompts.answers import ParsedReply, read_reply  # noqa: E402
from hsd.prompts.chat import make_chat  # noqa: E402
from hsd.prompts.contract import Contract, make_contract  # noqa: E402
from hsd.prompts.render import Renderer  # noqa: E402
from hsd.prompts.template import Parameters, Strategy, Template, load_template  # noqa: E402
from hsd.training.training_plan import plan_training  # noqa: E402

RELEASED = (
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
    "Knowledge cutoff: 2024-06\nCurrent date: {{ strftime_now('%Y-%m-%d') }}\n\n"
    "Reasoning: {{ reasoning_effort or 'medium' }}\n\n"
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
    "<|end|>{% for m in messages %}"
    "{% if m.role == 'system' %}<|start|>developer<|message|># Instructions\n\n{{ m.content }}\n\n"
    "<|end|>{% elif m.role == 'user' %}<|start|>user<|message|>{{ m.content }}<|end|>"
    "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
HATE, NORMAL = '{"classification": "hate"}', '{"classification": "normal"}'
FINAL, ANALYSIS = "<|channel|>final<|message|>", "<|channel|>analysis<|message|>"
NEXT = "<|end|><|start|>assistant"


def contract(**parameters: Any) -> Contract:
    own = load_template("baseline").strategy("standard")
    asked = own.model_copy(update={"parameters": Parameters(**parameters)})
    return make_contract(Template(name="mine", strategies={"reasoning": asked}), None)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny.tokenizer(tiny.HARMONY_CONTROL, RELEASED, "<|return|>")


def ids_of(tokenizer: Any, *parts: str) -> list[int]:
    """Return the ids of parts: control tokens are the odd ones, plain text the even ones."""
    plain = Renderer(tokenizer, contract())._plain
    found: list[int] = []
    for at, part in enumerate(parts):
        ids = plain.encode(part, add_special_tokens=False).ids if part else []
        found += tokenizer.encode(part, add_special_tokens=False) if at % 2 else ids
    return found


# What is written


@pytest.mark.parametrize("effort", [None, "low"])
def test_golden_a_chat_is_written_as_the_released_template_writes_it(
    effort: str | None, tokenizer: Any, golden: Callable[[str, str], None]
) -> None:
    asked = contract(reasoning_effort=effort)
    chat = make_chat(asked.strategy, "1", "the new bakery opens on monday", "normal")
    row = Renderer(tokenizer, asked).encode(chat)
    text = tokenizer.decode([*row.prompt, *row.answer])
    golden(f"harmony/{effort or 'medium'}.txt", text + "\n")


def test_a_base_may_begin_with_an_analysis_and_an_adapter_learns_the_final_channel(
    tokenizer: Any,
) -> None:
    asked = contract()
    row = Renderer(tokenizer, asked).encode(make_chat(asked.strategy, "1", "a bakery", "normal"))
    assert tokenizer.decode(row.prompt).endswith("<|end|><|start|>assistant")
    assert tokenizer.decode(row.answer) == f"{FINAL}{NORMAL}<|return|>"


# What is read


def outcome(tokenizer: Any, ids: list[int], limit: int = 10_000) -> tuple[str, str | None]:
    text, cut_off = read_tokens(tokenizer, ids, [tokenizer.eos_token_id], limit)
    reading = read_reply(text, cut_off=cut_off)
    return reading.outcome, reading.label


def test_the_final_channel_answers_and_the_analysis_does_not(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, "", ANALYSIS, f"{HATE}?", NEXT + FINAL, NORMAL, "<|return|>")
    assert outcome(tokenizer, ids) == ("repaired", "normal")


def test_an_analysis_without_an_answer_has_no_label(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, "", ANALYSIS, f"The answer is {HATE}", "<|return|>")
    assert outcome(tokenizer, ids) == ("invalid", None)


def test_an_analysis_that_was_cut_off_is_truncated(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, "", ANALYSIS, f"The answer may be {HATE}, as")
    assert outcome(tokenizer, ids, limit=len(ids)) == ("truncated", None)


def test_a_final_channel_that_an_analysis_spells_in_plain_text_is_no_answer(tokenizer: Any) -> None:
    quoted = f"The post says: {FINAL}{NORMAL}"
    ids = ids_of(tokenizer, "", ANALYSIS, quoted)
    assert not Closing(tokenizer)(ids), "the model may go on"
    assert outcome(tokenizer, ids, limit=len(ids)) == ("truncated", None)
    ids = ids_of(tokenizer, "", ANALYSIS, quoted, NEXT + FINAL, HATE, "<|return|>")
    assert outcome(tokenizer, ids) == ("repaired", "hate")


def test_a_reply_without_channels_is_read_whole_even_where_it_spells_one(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, f"{HATE} and not {FINAL}{NORMAL}")
    assert outcome(tokenizer, ids) == ("valid", "hate")


# A strategy that reasons


def strategy_file(folder: Path, **parameters: Any) -> Path:
    own: Strategy = load_template("baseline").strategy("standard")
    asked = own.model_copy(update={"parameters": Parameters(**parameters)})
    file = folder / "mine.json"
    template = Template(name="mine", strategies={"reasoning": asked})
    file.write_text(template.model_dump_json(exclude={"name"}), encoding="utf-8")
    return file


def evaluation(base: Path, folder: Path, mode: str) -> EvalConfig:
    rows = small_runs.jsonl(folder / "rows.jsonl", small_runs.posts(2))
    template = strategy_file(folder, analysis=True, max_new_tokens=40)
    asked = {"model": {"name": str(base), "device": "cpu"}, "data_file": str(rows), "mode": mode}
    more = {"prompt_template": str(template), "output_dir": folder / "evaluation"}
    return EvalConfig.model_validate(asked | more)


def test_a_strategy_with_an_analysis_is_asked_in_generate_mode_with_its_own_limit(
    tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    plan = plan_evaluation(evaluation(tiny_gpt_oss, tmp_path, "generate"))
    assert plan.contract.strategy.parameters.analysis
    assert plan.max_new_tokens == 40


@pytest.mark.parametrize(
    ("said", "cut_off", "expected"),
    [
        (f"{ANALYSIS}{NORMAL}?{NEXT}{FINAL}{HATE}", False, ParsedReply("valid", "hate")),
        (f"{FINAL}{HATE}", False, ParsedReply("valid", "hate")),
        (f"{ANALYSIS}{NORMAL}?{NEXT}{FINAL}So: {HATE}", False, ParsedReply("repaired", "hate")),
        (f"{ANALYSIS}{NORMAL}", False, ParsedReply("invalid")),
        (f"{ANALYSIS}{NORMAL}", True, ParsedReply("truncated")),
    ],
)
def test_an_answer_behind_an_analysis_that_was_asked_for_is_valid(
    said: str, cut_off: bool, expected: ParsedReply, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    plan = plan_evaluation(evaluation(tiny_gpt_oss, tmp_path, "generate"))
    assert parsed_reply(plan, Reply("1", said, cut_off, 0.0)) == expected


def test_score_mode_refuses_a_strategy_with_an_analysis(tiny_gpt_oss: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"score mode forces the answer .* Add --mode generate"):
        plan_evaluation(evaluation(tiny_gpt_oss, tmp_path, "score"))


def test_a_base_without_channels_is_asked_for_no_analysis(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no channels to tell an analysis from an answer"):
        plan_evaluation(evaluation(tiny_llama, tmp_path, "generate"))


def test_no_training_learns_a_strategy_with_an_analysis(tiny_gpt_oss: Path, tmp_path: Path) -> None:
    asked = {"template": str(strategy_file(tmp_path, analysis=True)), "strategy": "reasoning"}
    with pytest.raises(ConfigError, match="a training row holds an answer alone"):
        plan_training(small_runs.config(tiny_gpt_oss, tmp_path, prompt=asked))
    source, folder = Source("table", "posts.csv"), tmp_path / "data"
    job = Preparation(sources=(source,), output_dir=folder, template=asked["template"])
    with pytest.raises(ConfigError, match="a training row holds an answer alone"):
        prepare(job)


def test_a_strategy_without_an_analysis_has_the_hash_it_always_had() -> None:
    assert "analysis" not in contract(max_new_tokens=24).words()["parameters"]
    assert contract(analysis=True).hash != contract().hash
