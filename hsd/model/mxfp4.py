"""MXFP4 weights (OCP Microscaling 1.0) as gpt-oss is released in: 4-bit floats, 32 to a scale.

blocks: uint8 (..., outputs, groups, 16), two numbers a byte, the low half first.
scales: uint8 (..., outputs, groups), each the exponent of a power of two, 127 too large.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUP = 32
"""Numbers that share a scale."""
BYTES = GROUP // 2
SCALE_BIAS = 127
_AS_ONE = {2: torch.int32, 4: torch.int64, 8: torch.complex128}
"""A format as wide as two numbers of so many bytes each."""
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""What the lower three bits mean; the fourth is the sign."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What blocks and scales mean in one number format, on one device.

    pairs: the two numbers of each of the 256 bytes, seen as one number: gathered at once.
    powers: the power of two of each of the 256 scales.
    """

    dtype: torch.dtype
    pairs: Tensor
    powers: Tensor


def tables(dtype: torch.dtype, device: torch.device) -> Tables:
    """Return the tables to unpack with; made once for all experts of a layer."""
    values = torch.tensor([*MAGNITUDES, *(-m for m in MAGNITUDES)], dtype=dtype)
    byte = torch.arange(256)
    pairs = torch.stack([values[byte & 15], values[byte >> 4]], dim=-1)
    pairs = pairs.view(_AS_ONE[dtype.itemsize]).flatten()
    powers = torch.ldexp(torch.ones(256), byte - SCALE_BIAS).to(dtype)
    return Tables(dtype, pairs.to(device), powers.to(device))


def unpack(blocks: Tensor, scales: Tensor, using: Tables) -> Tensor:
    """Return one expert's weight, (outputs, inputs), exact in every format but float16."""
    numbers = using.pairs.index_select(0, blocks.flatten().int()).view(using.dtype)
    numbers = numbers.view(*scales.shape, GROUP)  # (outputs, groups, 32)
    numbers.mul_(using.powers[scales.int()].unsqueeze(-1))
    return numbers.flatten(1)


def expert_products(rows: Tensor, blocks: Tensor, scales: Tensor, counts: Sequence[int]) -> Tensor:
    """Return each row times its expert's weight, (rows, outputs).

    rows: (rows, inputs), sorted by expert; counts: how many rows each expert has. An expert is
    unpacked for its rows alone and forgotten, in the backward pass once more: autograd keeps
    nothing as large as an expert. The packed weight itself gets no gradient.
    """
    product: Tensor = _ExpertProducts.apply(rows, blocks, scales, counts)
    return product


class _ExpertProducts(torch.autograd.Function):
    """The library's hook for a backward pass of one's own."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, blocks: Tensor, scales: Tensor, counts: Sequence[int]
    ) -> Tensor:
        # Not through save_for_backward: a hook that moves what is saved would move the weights.
        ctx.packed = (blocks, scales, counts)
        out = rows.new_empty(len(rows), blocks.shape[1])
        using = tables(rows.dtype, rows.device)
        for expert, place in _places(counts):
            weight = unpack(blocks[expert], scales[expert], using)
            # Laid out as the unpacked model's: its sums are then added in the same order.
            torch.mm(rows[place], weight.t().contiguous(), out=out[place])
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        blocks, scales, counts = ctx.packed
        out = grad.new_empty(len(grad), blocks.shape[2] * GROUP)
        using = tables(grad.dtype, grad.device)
        for expert, place in _places(counts):
            weight = unpack(blocks[expert], scales[expert], using)
            torch.mm(grad[place], weight, out=out[place])
        return out, None, None, None


def _places(counts: Sequence[int]) -> list[tuple[int, slice]]:
    """Return each expert that has rows, with their place."""
    places, start = [], 0
    for expert, count in enumerate(counts):
        if count:
            places.append((expert, slice(start, start + count)))
        start += count
    return places
