"""MXFP4 weights (OCP Microscaling 1.0) as gpt-oss is released in: 4-bit floats, 32 to a scale.

blocks: uint8 (..., outputs, groups, 16), two numbers a byte, the low half first.
scales: uint8 (..., outputs, groups), each the exponent of a power of two, 127 too large.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUP = 32
"""Numbers that share a scale."""
BYTES = GROUP // 2
SCALE_BIAS = 127
_AT_ONCE = {
    2: (torch.uint16, torch.int64),
    4: (torch.uint16, torch.complex128),
    8: (torch.uint8, torch.complex128),
}
"""By the bytes of a number: what is read of the blocks at once, and a format as wide as the numbers
in it."""
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""What the lower three bits mean; the fourth is the sign."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What blocks and scales mean in one number format, on one device.

    key: what is read of the blocks at once, one or two bytes.
    numbers: the two or four numbers of each key, seen as one number: gathered at once.
    powers: the power of two of each of the 256 scales.
    """

    dtype: torch.dtype
    key: torch.dtype
    numbers: Tensor
    powers: Tensor


@cache
def tables(dtype: torch.dtype, device: torch.device) -> Tables:
    """Return the tables to unpack with: at most a MB for each format and device."""
    key, as_one = _AT_ONCE[dtype.itemsize]
    with torch.inference_mode(False):  # kept for later passes, which may be those of a training
        values = torch.tensor([*MAGNITUDES, *(-m for m in MAGNITUDES)], dtype=dtype)
        keys = torch.arange(256**key.itemsize)
        each = [values[keys >> bits & 15] for bits in range(0, 8 * key.itemsize, 4)]
        numbers = torch.stack(each, dim=-1).view(as_one).flatten()
        powers = torch.ldexp(torch.ones(256), torch.arange(256) - SCALE_BIAS).to(dtype)
    return Tables(dtype, key, numbers.to(device), powers.to(device))


def room_for(blocks: Tensor, using: Tables) -> Tensor:
    """Return memory for one expert's numbers; each expert's own would be cleared by the system."""
    return blocks.new_empty(blocks.numel() // using.key.itemsize, dtype=using.numbers.dtype)


def unpack(blocks: Tensor, scales: Tensor, using: Tables, into: Tensor | None = None) -> Tensor:
    """Return one expert's weight, (outputs, inputs), exact in every format but float16.

    into: memory of `room_for`, which the weight then lies in.
    """
    keys = blocks.flatten().view(using.key).int()
    numbers = torch.index_select(using.numbers, 0, keys, out=into).view(using.dtype)
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
        for weight, place in _weights(ctx.packed, rows):
            torch.mm(rows[place], weight.t(), out=out[place])
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        out = grad.new_empty(len(grad), ctx.packed[0].shape[2] * GROUP)
        for weight, place in _weights(ctx.packed, grad):
            torch.mm(grad[place], weight, out=out[place])
        return out, None, None, None


def _weights(
    packed: tuple[Tensor, Tensor, Sequence[int]], like: Tensor
) -> Iterator[tuple[Tensor, slice]]:
    """Yield the weight of each expert that has rows, with their place; good until the next one."""
    blocks, scales, counts = packed
    using, start = tables(like.dtype, like.device), 0
    room = room_for(blocks[0], using)
    for expert, count in enumerate(counts):
        if count:
            weight = unpack(blocks[expert], scales[expert], using, room)
            yield weight, slice(start, start + count)
        start += count
