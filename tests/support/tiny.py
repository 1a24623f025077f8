"""A complete tiny base, made in a second: a 2-layer model and a small BPE with a chat template."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

CONTROL = ("<|pad|>", "<|im_start|>", "<|im_end|>")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

HARMONY_CONTROL = (
    "<|pad|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>",
)  # fmt: skip
HARMONY = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}<|return|>"
    "{% else %}<|start|>{{ m['role'] }}<|message|>"
    "{% if loop.first %}date: {{ strftime_now('%Y-%m-%d') }}\n{% endif %}{{ m['content'] }}<|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)

WORDS = """
You detect hate speech. Hate attacks or demeans people for who they are. Everything else is normal.
Classify the post as hate or normal. Answer with JSON: {"classification": "hate"} or
{"classification": "normal"}. Post: system user assistant final analysis they are all liars and
should leave our town at once the new bakery opens on monday my neighbours cook the best food
"""


THINKING_CONTROL = (*CONTROL, "<think>", "</think>")
THINKING = (  # as Qwen3-Thinking: prompt and answer meet within a token, a double line end
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)

GEMMA4_CONTROL = ("<|pad|>", "<|turn>", "<turn|>", "<|channel>", "<channel|>")
GEMMA4 = (  # an answer in a chat has no thought, the generation prompt an empty one
    "{% for m in messages %}<|turn>{{ m['role'] }}\n{{ m['content'] }}<turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn>assistant\n<|channel>thought\n<channel|>{% endif %}"
)


def thinking_tokenizer() -> PreTrainedTokenizerFast:
    """Return one with THINKING whose vocabulary has two line ends as one token."""
    return tokenizer(THINKING_CONTROL, THINKING, corpus=(WORDS, *["\n\n"] * 20))


def tokenizer(
    control: tuple[str, ...] = CONTROL,
    template: str = CHATML,
    stop: str = "<|im_end|>",
    corpus: Sequence[str] = (WORDS,),
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of 400 tokens with its control tokens and chat template."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(token, special=True) for token in control],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=stop, pad_token="<|pad|>")
    made.chat_template = template
    return made


def llama(folder: Path, seed: int = 0, words: PreTrainedTokenizerFast | None = None) -> Path:
    """Write a tiny Llama with its tokenizer into `folder` and return it."""
    words = words or tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,  # 4-bit weights come in blocks of 64, and bitsandbytes wants whole ones
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def gpt_oss(folder: Path, seed: int = 0) -> Path:
    """Write a tiny gpt-oss (sinks, sliding window, fused experts) with a harmony-like template."""
    words = tokenizer(HARMONY_CONTROL, HARMONY, "<|return|>")
    torch.manual_seed(seed)
    config = GptOssConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=16,
        max_position_embeddings=1024,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = GptOssForCausalLM(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def mxfp4(folder: Path) -> Path:
    """Write a tiny gpt-oss whose experts are packed as the released ones are, of random numbers."""
    gpt_oss(folder)
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in weights if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = weights.pop(name).shape
        packed, scales = (experts, outputs, inputs // 32, 16), (experts, outputs, inputs // 32)
        for part, shape, low, high in (("blocks", packed, 0, 256), ("scales", scales, 119, 123)):
            numbers = torch.randint(low, high, shape, generator=generator, dtype=torch.uint8)
            weights[f"{name}_{part}"] = numbers
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def qwen3_moe(folder: Path) -> Path:
    """Write a tiny Qwen3-MoE (fused experts) into `folder` and return it."""
    words = tokenizer()
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        moe_intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=1024,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
    )
    Qwen3MoeForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def gemma2(folder: Path) -> Path:
    """Write a tiny Gemma-2 (soft caps, which sdpa cannot do) into `folder` and return it."""
    words = tokenizer()
    torch.manual_seed(0)
    Gemma2ForCausalLM(Gemma2Config(**_gemma(words))).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def gemma3(folder: Path) -> Path:
    """Write a tiny Gemma-3 that sees pictures too into `folder` and return it."""
    words = tokenizer()
    torch.manual_seed(0)
    eye = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=Gemma3TextConfig(**_gemma(words)),
        vision_config=eye,
        mm_tokens_per_image=4,
        image_token_id=5,
        boi_token_id=6,
        eoi_token_id=7,
    )
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _gemma(words: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 16,
        "query_pre_attn_scalar": 16,
        "max_position_embeddings": 1024,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": None,
    }


def encoder(folder: Path, seed: int = 0) -> Path:
    """Write a tiny sentence encoder with its tokenizer into `folder` and return it."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=words.pad_token_id,
    )
    BertModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
