"""gpt-oss's experts as they are released, packed in MXFP4, and the way they are loaded.

transformers unpacks them to 16 bit wherever a model is trained: 42 GB of gpt-oss-20b instead of 14.
Packed they are frozen parameters and no buffers, which DDP would send around in every step.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from hsd.model.mxfp4 import BYTES, GROUP, expert_products

METHOD = "hsd_packed"
"""The name under which the loader knows it; `mxfp4` is the library's own way."""


class PackedExperts(nn.Module):
    """GptOssExperts with the weights of both layers in blocks and scales."""

    def __init__(self, config: Any) -> None:
        """Make room for the weights of one layer's experts."""
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.experts = config.num_local_experts
        self.alpha, self.limit = config.swiglu_alpha, config.swiglu_limit
        for name, outputs, inputs in (
            ("gate_up_proj", 2 * inner, hidden),
            ("down_proj", hidden, inner),
        ):
            shape = (self.experts, outputs, inputs // GROUP)
            self._room(f"{name}_blocks", (*shape, BYTES), torch.uint8)
            self._room(f"{name}_scales", shape, torch.uint8)
            self._room(f"{name}_bias", (self.experts, outputs), torch.get_default_dtype())

    def _room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        empty = torch.empty(shape, dtype=dtype)
        self.register_parameter(name, nn.Parameter(empty, requires_grad=False))

    def forward(self, states: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """Return what the chosen experts make of each token.

        states: (tokens, hidden). chosen, shares: (tokens, experts a token). Step by step what
        transformers does with unpacked experts (integrations/moe.py), so that sums are the same.
        """
        each = chosen.shape[-1]
        expert, order = torch.sort(chosen.reshape(-1))
        counts = torch.bincount(expert, minlength=self.experts).tolist()
        rows = self._product("gate_up_proj", states[order // each], expert, counts)
        rows = self._product("down_proj", self._gated(rows), expert, counts)
        rows = rows * shares.reshape(-1)[order].unsqueeze(-1)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return rows[back].view(-1, each, states.shape[-1]).sum(dim=1).to(states.dtype)

    def _product(self, name: str, rows: Tensor, expert: Tensor, counts: list[int]) -> Tensor:
        bias = getattr(self, f"{name}_bias")
        blocks, scales = getattr(self, f"{name}_blocks"), getattr(self, f"{name}_scales")
        return expert_products(rows.to(bias.dtype), blocks, scales, counts) + bias[expert]

    def _gated(self, rows: Tensor) -> Tensor:
        gated: Tensor = GptOssExperts._apply_gate(self, rows)
        return gated


@register_quantization_config(METHOD)
class PackedConfig(QuantizationConfigMixin):
    """What the loader is told: the experts stay as they are."""

    def __init__(self, **_: Any) -> None:
        """Take what a saved config has; there is nothing to choose."""
        self.quant_method = METHOD


@register_quantizer(METHOD)
class _PackedLoader(HfQuantizer):
    """The library's hook: experts are replaced before any weight is read."""

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        pack(model)

    def is_serializable(self) -> bool:
        return False  # an unpacked model is written (standalone.py)

    @property
    def is_trainable(self) -> bool:
        return True


def pack(model: Any) -> None:
    """Put packed experts, still without weights, into a model on the meta device."""
    for name in expert_layers(model):
        with torch.device("meta"):
            model.set_submodule(name, PackedExperts(model.config))


def expert_layers(model: nn.Module) -> list[str]:
    """Return the names of the expert layers that MXFP4 checkpoints pack."""
    return [name for name, module in model.named_modules() if isinstance(module, GptOssExperts)]
