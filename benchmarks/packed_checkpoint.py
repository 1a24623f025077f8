"""A gpt-oss checkpoint in the layout of the released one, with random weights, written in parts."""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GptOssConfig, PreTrainedTokenizerFast

from hsd.model.quantization import held_bytes, skeleton
from hsd.prompts.template import load_template

CONTROL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENS = 2000
SCALES = (112, 118)
"""Exponents plus 127, as in trained experts: numbers of some hundredths."""

TRUE: dict[str, Any] = {"num_hidden_layers": 24, "num_local_experts": 32}
"""gpt-oss-20b; transformers' own defaults are those of gpt-oss-120b."""
TINY: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 4096,
}


def checkpoint_gb(shape: Mapping[str, Any]) -> float:
    """Return the size of a checkpoint on the disk."""
    return held_bytes(skeleton(_config(shape), "packed"), None, torch.bfloat16) / 1e9


def write_checkpoint(shape: Mapping[str, Any], folder: Path) -> None:
    """Write weights, a file for each layer and one for the rest, config and tokenizer.

    No more than one file's weights are in memory at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(shape)
    places: dict[str, str] = {}
    for number, (_, names) in enumerate(groupby(_shapes(config), key=lambda one: _part(one[0]))):
        file = f"model-{number:05}.safetensors"
        weights = {name: random_weight(name, like) for name, like in names}
        save_file(weights, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(weights, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    words = chat_tokenizer()
    config.eos_token_id, config.pad_token_id = words.eos_token_id, words.pad_token_id
    config.quantization_config = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    config.save_pretrained(folder)
    words.save_pretrained(folder)


def _config(shape: Mapping[str, Any]) -> Any:
    return GptOssConfig(architectures=["GptOssForCausalLM"], dtype=torch.bfloat16, **shape)


def _shapes(config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each weight's name with an empty tensor of its shape."""
    yield from skeleton(config, "packed").named_parameters()


def _part(name: str) -> str:
    """Return the layer that a weight belongs to; empty for what belongs to none."""
    return name.split(".")[2] if ".layers." in name else name


def random_weight(
    name: str, like: torch.Tensor, device: str = "cpu", dtype: torch.dtype = torch.bfloat16
) -> torch.Tensor:
    """Return random numbers in the shape of a named weight, made where they are to be."""
    if name.endswith("_blocks"):
        return torch.randint(0, 256, like.shape, dtype=torch.uint8, device=device)
    if name.endswith("_scales"):
        return torch.randint(*SCALES, like.shape, dtype=torch.uint8, device=device)
    if "norm" in name:
        return torch.ones(like.shape, dtype=dtype, device=device)
    return torch.empty(like.shape, dtype=dtype, device=device).normal_(std=0.02)


def chat_tokenizer() -> Any:
    """Return a byte-level BPE that learned on a shipped template; its tokens are ids of the base.

    Most of the vocabulary is never spoken, but its logits are computed as any others.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=[AddedToken(token, special=True) for token in CONTROL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([load_template("baseline").model_dump_json()], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    made.chat_template = CHAT
    return made
