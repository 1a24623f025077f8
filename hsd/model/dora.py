"""DoRA with the lengths of its weights in float32, whatever the base is held and computed in.

peft works them out in the format of the forward: bfloat16 while a 16-bit base trains, float32 when
it is evaluated and merged. Rounded to bfloat16 each output's weights are up to .4 % too long or
short, so that a fresh adapter changes its base, and what is evaluated is not what was trained.
"""

from collections.abc import Iterator
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.dora import DoraLinearLayer
from torch import Tensor

UNLEARNED = 0.1
"""Largest share by which the base's lengths differ between two of its number formats. Measured with
rows of 64 numbers: up to .06 between NF4 and float32. A step that moves lengths moves matrices."""


class Float32Lengths(DoraLinearLayer):
    """peft's layer, but for the number format of the lengths."""

    def get_weight_norm(
        self, weight: Tensor, lora_weight: Tensor, scaling: float, adapter_name: str | None = None
    ) -> Tensor:
        """Return the length of each output's weights, (outputs,), in float32 or better.

        `adapter_name` is for peft's cache alone, which is off.
        """
        del adapter_name
        dtype = torch.promote_types(weight.dtype, torch.float32)
        length: Tensor = super().get_weight_norm(weight.to(dtype), lora_weight.to(dtype), scaling)
        return length


def give_float32_lengths(model: Any) -> None:
    """Let the model's DoRA layers work out lengths in float32.

    Their 4-bit bases are kept from packing their weights for a CPU: peft would take packed weights
    for plain ones (measured: logits off by .02).
    """
    for layer, dora in _dora_layers(model):
        dora.__class__ = Float32Lengths
        if isinstance(base := layer.get_base_layer(), Linear4bit):
            base.support_avx512bf16_for_cpu = False


def start_anew(model: Any) -> None:
    """Set the learned lengths of a fresh adapter to the base's own."""
    for layer, dora in _dora_layers(model):
        (name,) = layer.lora_A
        dora.update_layer(
            base_layer=layer.get_base_layer(),
            lora_A=layer.lora_A[name].weight,
            lora_B=layer.lora_B[name].weight,
            scaling=layer.scaling[name],
        )


def lengths(model: Any) -> list[Tensor]:
    """Return what is learned of lengths, layer by layer."""
    return [dora.weight.detach().clone() for _, dora in _dora_layers(model)]


def is_unlearned(model: Any, fresh: list[Tensor]) -> bool:
    """Return whether a DoRA adapter is as before its first step; `fresh` are the lengths then.

    On a base in 16 or 4 bit it may still move a logit: the base's lengths were rounded.
    """
    for layer, _ in _dora_layers(model):
        if any(matrix.weight.any() for matrix in layer.lora_B.values()):
            return False
    pairs = zip(lengths(model), fresh, strict=True)
    return bool(fresh) and all(torch.allclose(a, b, rtol=UNLEARNED, atol=0) for a, b in pairs)


def _dora_layers(model: Any) -> Iterator[tuple[Any, Any]]:
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for dora in module.lora_magnitude_vector.values():
                if isinstance(dora, DoraLinearLayer) and type(dora) in (
                    DoraLinearLayer,
                    Float32Lengths,
                ):
                    yield module, dora
