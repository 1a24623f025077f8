"""Whether flex attention is right on this device, tried before a training takes it by itself."""

from functools import cache
from typing import Any

import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import PretrainedConfig

from hsd.model.flex_mask import BLOCK, block_mask, mask_mod
from hsd.model.memory import is_memory_error

TOKENS, ROWS = 2 * BLOCK, 3
AGREES = {torch.float32: 2e-3, torch.bfloat16: 3e-2}
"""Largest difference to dense attention, in results and gradients of standard normal numbers."""
FAILURES = (RuntimeError, ValueError, TypeError, AssertionError, ImportError, OSError)
"""What torch, its compiler and Triton raise where something is missing."""


def why_flex_is_off(config: PretrainedConfig, dtype: torch.dtype, device: str) -> str | None:
    """Return why flex attention cannot be used with a base's heads here; None where it is right."""
    text: Any = config.get_text_config()
    text = getattr(text, "per_layer_config", [text])[0]
    heads = text.num_attention_heads
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return _why_off(heads, key_heads, width, dtype, device)


@cache
def _why_off(heads: int, key_heads: int, width: int, dtype: torch.dtype, device: str) -> str | None:
    try:
        with torch.random.fork_rng([torch.device(device)] if device != "cpu" else []):
            torch.manual_seed(0)
            off = _difference(heads, key_heads, width, dtype, device)
    except FAILURES as error:
        if is_memory_error(error):
            raise
        return f"flex attention does not run on {device} ({type(error).__name__})"
    if off <= AGREES.get(dtype, 0.0):
        return None
    return f"flex attention is off by {off:.2g} on {device}"


def _difference(heads: int, key_heads: int, width: int, dtype: torch.dtype, device: str) -> float:
    """Return the largest difference of results and gradients; NaN stays."""
    row = torch.arange(TOKENS, device=device) % ROWS

    def sees(query: Any, key: Any) -> torch.Tensor:
        return (row[key] == row[query]) & (key <= query)

    states = [
        torch.randn(1, count, TOKENS, width, dtype=dtype, device=device, requires_grad=True)
        for count in (heads, key_heads, key_heads)
    ]
    mask = block_mask(mask_mod(sees), TOKENS, TOKENS, device)
    flex = torch.compile(flex_attention)(*states, block_mask=mask, enable_gqa=True)
    ours = [flex, *torch.autograd.grad(flex.sum(), states)]
    every = torch.arange(TOKENS, device=device)
    asked, keys, values = states
    dense = scaled_dot_product_attention(
        asked, keys, values, attn_mask=sees(every[:, None], every), enable_gqa=True
    )
    theirs = [dense, *torch.autograd.grad(dense.sum(), states)]
    apart = [(a - b).abs().max() for a, b in zip(ours, theirs, strict=True)]
    return float(torch.stack(apart).max())
