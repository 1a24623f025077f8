"""Tiny bases of the families of hsd.model.family_table, with their makers' chat templates rebuilt.

The templates hold what decides how a prompt ends and an answer opens and ends: roles, marks and
white space. Tools, pictures and earlier turns are left out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + "
    "'<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m.content }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEKKEN = (
    "{{ '<s>' }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ '[SYSTEM_PROMPT]' + m['content'] + '[/SYSTEM_PROMPT]' }}{% elif m['role'] == 'user' %}"
    "{{ '[INST]' + m['content'] + '[/INST]' }}{% else %}{{ m['content'] + '</s>' }}{% endif %}"
    "{% endfor %}"
)
GEMMA3 = (
    "{{ '<bos>' }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}"
    "{{ m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '<|im_sep|>' + m['content'] + "
    "'<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
PHI4_MINI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
LLAMA3_CONTROL = (
    "<|pad|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip
QWEN3_CONTROL = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
TEKKEN_CONTROL = (
    "<|pad|>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
)  # fmt: skip
GEMMA3_CONTROL = ("<|pad|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
PHI4_CONTROL = ("<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>")
PHI4_MINI_CONTROL = (
    "<|pad|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
)  # fmt: skip

WORDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "harmony": lambda: tiny.tokenizer(tiny.HARMONY_CONTROL, tiny.HARMONY, "<|return|>"),
    "Llama 3": lambda: tiny.tokenizer(LLAMA3_CONTROL, LLAMA3, "<|eot_id|>"),
    "SmolLM2": tiny.tokenizer,
    "SmolLM3": tiny.tokenizer,
    "Qwen3": lambda: tiny.tokenizer(QWEN3_CONTROL, QWEN3, "<|im_end|>"),
    "Tekken": lambda: tiny.tokenizer(TEKKEN_CONTROL, TEKKEN, "</s>"),
    "Gemma 3": lambda: tiny.tokenizer(GEMMA3_CONTROL, GEMMA3, "<eos>"),
    "Phi-4": lambda: tiny.tokenizer(PHI4_CONTROL, PHI4, "<|endoftext|>"),
    "Phi-4-mini": lambda: tiny.tokenizer(PHI4_MINI_CONTROL, PHI4_MINI, "<|endoftext|>"),
}
"""A tokenizer for each form of answers in the table."""


def qwen3(folder: Path) -> Path:
    """Write a tiny Qwen3 (queries and keys with norms) into `folder` and return it."""
    return _written(Qwen3ForCausalLM, Qwen3Config, folder, "Qwen3", head_dim=16)


def qwen3_moe(folder: Path, inner: int = 48) -> Path:
    """Write a tiny Qwen3 with fused experts into `folder` and return it."""
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": inner}
    return _written(Qwen3MoeForCausalLM, Qwen3MoeConfig, folder, "Qwen3", head_dim=16, **experts)


def mistral(folder: Path) -> Path:
    """Write a tiny Mistral with a sliding window into `folder` and return it."""
    return _written(MistralForCausalLM, MistralConfig, folder, "Tekken", sliding_window=16)


def gemma3_text(folder: Path) -> Path:
    """Write a tiny Gemma 3 that reads text alone into `folder` and return it."""
    own = {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16}
    return _written(
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        folder,
        "Gemma 3",
        layer_types=["sliding_attention", "full_attention"],
        **own,
    )


def phi4(folder: Path) -> Path:
    """Write a tiny Phi-4 (queries, keys and values in one layer) into `folder` and return it."""
    return _written(Phi3ForCausalLM, Phi3Config, folder, "Phi-4")


def smollm3(folder: Path) -> Path:
    """Write a tiny SmolLM3 (a layer without positions) into `folder` and return it."""
    return _written(SmolLM3ForCausalLM, SmolLM3Config, folder, "SmolLM3", no_rope_layers=[1, 0])


def llama3(folder: Path) -> Path:
    """Write a tiny Llama with Llama 3's template into `folder` and return it."""
    return tiny.llama(folder, words=WORDS["Llama 3"]())


BASES: dict[str, Callable[[Path], Path]] = {
    "gpt-oss": tiny.gpt_oss,
    "Llama": llama3,
    "Qwen3": qwen3,
    "Qwen3 MoE": qwen3_moe,
    "Mistral": mistral,
    "Gemma 3": gemma3_text,
    "Gemma 3 with pictures": tiny.gemma3,
    "Phi-4": phi4,
    "SmolLM3": smollm3,
}
"""A tiny base of each family in the table, and of one with parts beside its text model."""


def _written(model: Any, config: Any, folder: Path, words: str, **own: Any) -> Path:
    tokenizer = WORDS[words]()
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    model(config(**(sizes | own))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
