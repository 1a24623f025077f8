"""A 4-bit base as plain layers: the weights that an adapter on it was really trained with."""

from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import nn

from hsd.model.base import Base
from hsd.model.nf4_experts import plain_experts


def dequantize(base: Base) -> Base:
    """Replace every 4-bit layer of a freshly loaded base by a plain one, and return the base.

    Each weight is rounded to the layer's compute format, as every forward pass of the training
    rounded it, and then held in the base's. Call it before any forward pass: on some CPUs the
    first one repacks the 4-bit weights.
    """
    dtype = base.placement.dtype
    quantized = [(n, m) for n, m in base.model.named_modules() if isinstance(m, Linear4bit)]
    for name, layer in quantized:
        base.model.set_submodule(name, _plain(layer, dtype))
    plain_experts(base.model)
    return base


def _plain(layer: Any, dtype: torch.dtype) -> nn.Linear:
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    with torch.device("meta"):
        plain = nn.Linear(layer.in_features, layer.out_features, bias=False)
    weight = weight.to(layer.compute_dtype).to(dtype)
    plain.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.detach().to(dtype), requires_grad=False)
    return plain
