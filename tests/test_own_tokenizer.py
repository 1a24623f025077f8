"""A tokenizer or chat template saved beside an adapter asks in its place, or is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

torch = pytest.importorskip("torch")

import small_runs  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_foreign_adapters import trained  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from hsd.config.evaluate_config import EvalConfig  # noqa: E402
from hsd.config.merge_config import MergeConfig  # noqa: E402
from hsd.config.model_config import ModelConfig  # noqa: E402
from hsd.errors import ModelError  # noqa: E402
from hsd.evaluation.evaluate import evaluate_with_base  # noqa: E402
from hsd.evaluation.evaluation_plan import plan_evaluation  # noqa: E402
from hsd.evaluation.subject import Subject, subject  # noqa: E402
from hsd.io.json_reader import read_json  # noqa: E402
from hsd.io.manifest import MANIFEST  # noqa: E402
from hsd.model.merge import merge  # noqa: E402

OWN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} says\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant says\n{% endif %}"
)


@pytest.fixture
def adapter(tiny_llama: Path, tmp_path: Path) -> Path:
    return trained(tiny_llama, tmp_path / "adapter")[0]


def asking(adapter: Path, **settings: Any) -> EvalConfig:
    """An evaluation of an adapter with a short prompt."""
    asked = {"data_file": "embedded", "prompt_template": "baseline", "strategy": "standard"}
    model = ModelConfig(name=str(adapter), device="cpu")
    return EvalConfig(model=model, **(asked | settings))


def base_words(adapter: Path) -> Any:
    return AutoTokenizer.from_pretrained(
        read_json(adapter / "adapter_config.json")["base_model_name_or_path"]
    )


def found(adapter: Path) -> Subject:
    return subject(EvalConfig(model=ModelConfig(name=str(adapter), device="cpu")))


def refused(adapter: Path) -> str:
    with pytest.raises(ModelError) as error:
        found(adapter)
    assert "\n" not in str(error.value)
    return str(error.value)


def _as_file(adapter: Path) -> None:
    (adapter / "chat_template.jinja").write_text(OWN)


def _in_a_config(adapter: Path) -> None:
    (adapter / "tokenizer_config.json").write_text(json.dumps({"chat_template": OWN}))


def _as_a_processor_does(adapter: Path) -> None:
    (adapter / "chat_template.json").write_text(json.dumps({"chat_template": OWN}))


def _with_the_words(adapter: Path) -> None:
    words = base_words(adapter)
    words.chat_template = OWN
    words.save_pretrained(adapter)


@pytest.mark.parametrize("save", [_as_file, _in_a_config, _as_a_processor_does, _with_the_words])
def test_a_chat_template_beside_an_adapter_asks_it(
    save: Callable[[Path], None], adapter: Path
) -> None:
    before = found(adapter)
    assert before.own_tokenizer is None
    assert "tokenizer" not in before.identity()
    save(adapter)
    after = found(adapter)
    assert after.tokenizer.chat_template == OWN
    assert after.source.tokenizer.chat_template == before.source.tokenizer.chat_template
    assert after.identity()["tokenizer"]
    assert after.of_base().identity() == before.of_base().identity()


def test_the_bases_own_tokenizer_beside_an_adapter_changes_nothing(adapter: Path) -> None:
    before = found(adapter).identity()
    words = base_words(adapter)
    words.model_max_length = 77
    words.padding_side = "left"
    words.save_pretrained(adapter)
    assert found(adapter).own_tokenizer is None
    assert found(adapter).identity() == before


def test_words_without_a_chat_template_are_asked_in_the_bases(adapter: Path) -> None:
    words = base_words(adapter)
    template, words.chat_template = words.chat_template, None
    words.save_pretrained(adapter)
    assert found(adapter).tokenizer.chat_template == template


def test_another_end_of_text_ends_the_answers_of_an_adapter(adapter: Path) -> None:
    words = base_words(adapter)
    words.eos_token = "<|pad|>"
    words.save_pretrained(adapter)
    end = words.convert_tokens_to_ids("<|pad|>")
    prepared = plan_evaluation(asking(adapter))
    assert end in prepared.renderer.stop_ids()
    assert end not in prepared.of_base().renderer.stop_ids()


def test_the_base_beside_an_adapter_is_asked_in_its_own_chat_template(
    tiny_llama: Path, adapter: Path, tmp_path: Path
) -> None:
    _as_file(adapter)
    rows = small_runs.jsonl(tmp_path / "rows.jsonl", small_runs.posts(4))
    config = asking(adapter, data_file=str(rows), output_dir=tmp_path / "out")
    prepared = plan_evaluation(config)
    alone = plan_evaluation(asking(tiny_llama, data_file=str(rows)))
    assert prepared.of_base().encoded == alone.encoded
    assert prepared.encoded != alone.encoded
    base, adapted = evaluate_with_base(config)
    facts = [read_json(run.folder / MANIFEST)["model"] for run in (base, adapted)]
    assert ["tokenizer" in one for one in facts] == [False, True]


def test_a_merge_takes_the_tokenizer_beside_the_adapter_along(
    adapter: Path, tmp_path: Path
) -> None:
    _as_file(adapter)
    output = tmp_path / "merged"
    merge(MergeConfig(adapter_path=adapter, output_dir=output, device="cpu"))
    assert AutoTokenizer.from_pretrained(output).chat_template == OWN
    assert read_json(output / "identity.json")["tokenizer"]


def test_a_base_without_a_chat_template_takes_the_adapters(
    tiny_llama: Path, adapter: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(tiny_llama, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    config = EvalConfig(model=ModelConfig(name=str(bare), device="cpu"), adapter=adapter)
    with pytest.raises(ModelError, match="its tokenizer has no chat template"):
        subject(config)
    _as_file(adapter)
    assert subject(config).tokenizer.chat_template == OWN


# What cannot be used


def test_tokens_that_the_base_has_no_embedding_for_are_refused(adapter: Path) -> None:
    words = base_words(adapter)
    words.add_tokens(["<user>"])
    words.save_pretrained(adapter)
    line = refused(adapter)
    assert "its tokenizer has a token 400, and" in line
    assert "has 400: tokens were added. Merge it where it was trained" in line


def test_tokens_in_rows_that_the_base_keeps_free_are_used(
    tiny_llama: Path, adapter: Path, tmp_path: Path
) -> None:
    roomy = shutil.copytree(tiny_llama, tmp_path / "roomy")
    weights = load_file(roomy / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        weights[name] = torch.cat([weights[name], torch.zeros(8, 64)])
    save_file(weights, roomy / "model.safetensors", metadata={"format": "pt"})
    config = read_json(roomy / "config.json") | {"vocab_size": 408}
    (roomy / "config.json").write_text(json.dumps(config))
    words = base_words(adapter)
    words.add_tokens(["<user>"])
    words.save_pretrained(adapter)
    given = EvalConfig(model=ModelConfig(name=str(roomy), device="cpu"), adapter=adapter)
    assert subject(given).tokenizer.convert_tokens_to_ids("<user>") == 400


def test_words_numbered_otherwise_than_the_bases_are_refused(adapter: Path) -> None:
    words = base_words(adapter)
    words.save_pretrained(adapter)
    content = read_json(adapter / "tokenizer.json")
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (adapter / "tokenizer.json").write_text(json.dumps(content))
    assert "its tokenizer numbers 2 of the words otherwise than" in refused(adapter)


def test_a_tokenizer_that_cannot_be_read_is_refused(adapter: Path) -> None:
    (adapter / "tokenizer.json").write_text("{}")
    assert "the tokenizer beside the adapter cannot be read" in refused(adapter)


def test_a_template_that_cannot_be_rendered_is_said_to_be_the_adapters(adapter: Path) -> None:
    (adapter / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(ModelError) as error:
        plan_evaluation(asking(adapter))
    assert f"{adapter}: the tokenizer and chat template beside the adapter" in str(error.value)
    with pytest.raises(ModelError, match="take their files out of the folder"):
        merge(MergeConfig(adapter_path=adapter, output_dir=adapter.parent / "m", device="cpu"))


def test_a_named_token_that_the_template_writes_is_the_adapters_own(
    adapter: Path, tiny_llama: Path
) -> None:
    template = "{{ bos_token }}" + str(base_words(adapter).chat_template)
    base = shutil.copytree(tiny_llama, adapter.parent / "with_bos")
    for folder, first in ((base, "<|pad|>"), (adapter, "<|im_end|>")):
        words = base_words(adapter)
        words.chat_template, words.bos_token = template, first
        words.save_pretrained(folder)
    given = EvalConfig(model=ModelConfig(name=str(base), device="cpu"), adapter=adapter)
    assert subject(given).tokenizer.bos_token == "<|im_end|>"
