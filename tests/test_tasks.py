"""Checkpoints of other tasks, and tokenizers of other bases, are refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hsd.config.model_config import ModelConfig
from hsd.errors import ModelError

pytestmark = pytest.mark.model


def refused(folder: Path) -> str:
    from hsd.model.base import load_base

    with pytest.raises(ModelError) as error:
        load_base(ModelConfig(name=str(folder), device="cpu"))
    line = str(error.value)
    assert "\n" not in line
    assert "download it again" not in line
    return line.removeprefix(f"model '{folder}': ")


def copied(base: Path, folder: Path, **config: Any) -> Path:
    shutil.copytree(base, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def with_weight(folder: Path, key: str) -> Path:
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file({**load_file(file), key: torch.ones(2, 64)}, file, metadata={"format": "pt"})
    return folder


TASKS = {
    "LlamaForSequenceClassification": "sequence classification",
    "LlamaForTokenClassification": "token classification",
    "LlamaForQuestionAnswering": "question answering",
    "LlamaForRewardModel": "reward model",
    "BertForMaskedLM": "masked LM",
    "LlamaModel": "embeddings (it has no head that writes)",
    "LlamaBiTransformer": "another task",
}


@pytest.mark.parametrize("architecture", TASKS)
def test_a_checkpoint_of_another_task_is_refused_by_the_name_of_the_task(
    architecture: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_llama, tmp_path / "base", architectures=[architecture])
    assert refused(folder) == (
        f"its checkpoint was made for {TASKS[architecture]} (config.json names {architecture}); "
        "hsd asks models that write text. Take the instruction-tuned language model of the same "
        "family."
    )


def test_a_classifier_with_tied_embeddings_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig.from_pretrained(tiny_llama, tie_word_embeddings=True, num_labels=2)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "base")
    assert "made for sequence classification" in refused(tmp_path / "base")


@pytest.mark.parametrize(
    ("key", "task"),
    [
        ("score.weight", "sequence classification or a reward"),
        ("classifier.weight", "classification"),
        ("v_head.summary.weight", "the value of a reply"),
        ("qa_outputs.weight", "question answering"),
    ],
)
def test_a_head_that_is_left_over_names_the_task(
    key: str, task: str, tiny_llama: Path, tmp_path: Path
) -> None:
    line = refused(with_weight(copied(tiny_llama, tmp_path / "base"), key))
    assert line.startswith(f"its checkpoint was made for {task}")
    assert f"(its weight {key} is such a head)" in line


def test_sequence_to_sequence_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import BartConfig, T5Config

    for config, name in ((T5Config(), "T5"), (BartConfig(), "Bart")):
        folder = tmp_path / name
        shutil.copytree(tiny_llama, folder)
        config.architectures = [f"{name}ForConditionalGeneration"]
        config.save_pretrained(folder)
        line = refused(folder)
        assert "made for sequence to sequence (an encoder and a decoder)" in line
        assert f"{name}ForConditionalGeneration" in line


def test_a_kind_that_is_no_language_model_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import ViTConfig

    shutil.copytree(tiny_llama, tmp_path / "base")
    ViTConfig().save_pretrained(tmp_path / "base")
    assert "what transformers does not load as a language model (vit)" in refused(tmp_path / "base")


def test_a_sentence_encoder_is_refused_whatever_its_config_says(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_llama, tmp_path / "base")
    parts = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(parts))
    assert refused(folder).startswith("its checkpoint was made for sentence embeddings")


@pytest.mark.parametrize("architectures", [None, [], ["LlamaForCausalLM"], ["RWForCausalLM"]])
def test_a_writer_is_taken_also_where_its_config_names_no_class(
    architectures: list[str] | None, tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.model.base import find_base

    folder = copied(tiny_llama, tmp_path / "base", architectures=architectures)
    assert find_base(ModelConfig(name=str(folder))).config.model_type == "llama"


# Tokens without an embedding


def with_tokens(
    base: Path, folder: Path, *, special: bool, tokens: int = 1, template: str = ""
) -> Path:
    from transformers import AutoTokenizer

    shutil.copytree(base, folder)
    words = AutoTokenizer.from_pretrained(base)
    words.add_tokens([f"<more{n}>" for n in range(tokens)], special_tokens=special)
    words.chat_template = template + words.chat_template
    words.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("special", "template"), [(True, "<more0>"), (False, ""), (False, "<more0>")]
)
def test_a_token_without_an_embedding_is_refused_where_rows_can_have_it(
    special: bool, template: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = with_tokens(tiny_llama, tmp_path / "base", special=special, template=template)
    assert refused(folder) == (
        "its tokenizer gives '<more0>' the number 400, but the base has embeddings for 400 tokens "
        "only (1 such tokens). Take the tokenizer that belongs to these weights, or weights whose "
        "embeddings were resized to it."
    )


def test_a_padding_token_without_an_embedding_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = shutil.copytree(tiny_llama, tmp_path / "base")
    words = AutoTokenizer.from_pretrained(folder)
    words.add_special_tokens({"pad_token": "<pad-more>"})
    words.save_pretrained(folder)
    assert "'<pad-more>' the number 400" in refused(folder)


def test_a_control_token_that_nothing_uses_may_lie_beyond(tiny_llama: Path, tmp_path: Path) -> None:
    from hsd.model.base import find_base

    find_base(ModelConfig(name=str(with_tokens(tiny_llama, tmp_path / "base", special=True))))
