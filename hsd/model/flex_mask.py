"""Packed rows for torch's flex attention: the mask as a function, and blocks that nobody sees.

A block mask lets the kernel leave out what the dense mask only hides. Shapes are rounded up, since
each new shape makes the kernel be compiled anew.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

FLEX = "flex_attention"
"""The library's name for it."""

BLOCK = 128
"""The kernel's own block; pieces have a multiple of it."""

MaskMod = Callable[[Any, Any, Any, Any], torch.Tensor]


def mask_mod(sees: Callable[[Any, Any], torch.Tensor]) -> MaskMod:
    """Return a mask in flex attention's form: of batch, head, query and key."""

    def seen(_batch: Any, _head: Any, query: Any, key: Any) -> torch.Tensor:
        return sees(query, key)

    return seen


def block_mask(mask: MaskMod, queries: int, keys: int, device: Any) -> BlockMask:
    """Return the mask of so many queries and keys, for any batch and head."""
    return create_block_mask(mask, 1, None, queries, keys, device=device)


def missing(tokens: int) -> int:
    """Return how many tokens a piece lacks to whole blocks."""
    return -tokens % BLOCK
