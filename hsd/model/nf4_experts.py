"""Fused experts in NF4 by bitsandbytes' parametrisation, as model.quantization=nf4_experts asks.

bitsandbytes replaces linear layers only, and the experts of Qwen3-MoE and the like are 3-D
parameters. Each is quantised while it is loaded, one at a time, and is dequantised whole whenever
its layer computes. Autograd would keep the dequantised weights of every layer for the backward
pass, so activations are always computed again (gradient checkpointing).
"""

from typing import Any

import torch
from bitsandbytes.nn import Params4bit
from bitsandbytes.nn.parametrize import replace_parameter_4bit_prequantized
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import BitsAndBytesConfig
from transformers.integrations.bitsandbytes import Bnb4bitQuantize
from transformers.quantizers import register_quantization_config, register_quantizer
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

NF4_EXPERTS = "nf4_experts"
"""The setting, and the method that a manifest names."""
_LOADER = "hsd_nf4_experts"
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Names of the number of experts in configs."""


def expert_count(config: Any) -> int:
    """Return how many experts a layer of a model has by its config; 0 for a dense model."""
    text = config.get_text_config()
    return next((n for key in _EXPERTS if (n := getattr(text, key, None))), 0)


def fused_experts(model: Any) -> list[str]:
    """Return the names of the parameters that hold the matrices of all experts of a layer.

    Of those in NF4 too, under the name that they had.
    """
    count = expert_count(model.config)
    plain = [n for n, p in model.named_parameters() if p.dim() == 3 and p.shape[0] == count]
    return plain + [f"{name}.{weight}" for name, _, weight in _parametrised(model)]


class ExpertsConfig(BitsAndBytesConfig):
    """What the loader is told: linear layers and fused experts in 4 bit."""

    def __init__(self, **settings: Any) -> None:
        """Take the settings of bitsandbytes' own."""
        super().__init__(**settings)
        self.quant_method = _LOADER


register_quantization_config(_LOADER)(ExpertsConfig)


class _Quantize(Bnb4bitQuantize):
    """The library's hook: one weight as it was read -> in 4 bit."""

    def convert(
        self, input_dict: dict[str, Any], model: Any = None, **more: Any
    ) -> dict[str, Tensor]:
        fused = {n: v for n, v in input_dict.items() if _is_fused(model, n)}
        linear = {n: v for n, v in input_dict.items() if n not in fused}
        found: dict[str, Tensor] = super().convert(linear, model=model, **more) if linear else {}
        bits = self.hf_quantizer.quantization_config
        for name, value in fused.items():
            found[name] = _in_4bit(value[0] if isinstance(value, list) else value, bits)
        return found


@register_quantizer(_LOADER)
class _ExpertsLoader(Bnb4BitHfQuantizer):
    """The library's hook: what is quantised, and what is done when all is loaded."""

    def param_needs_quantization(self, model: Any, param_name: str, **more: Any) -> bool:
        if _is_fused(model, param_name):
            return True
        return bool(super().param_needs_quantization(model, param_name, **more))

    def get_quantize_ops(self) -> Any:
        return _Quantize(self)

    def _process_model_after_weight_loading(self, model: Any, **more: Any) -> Any:
        _parametrise(model)
        return super()._process_model_after_weight_loading(model, **more)

    def is_serializable(self) -> bool:
        return False  # a dequantised model is written (standalone.py)


def plain_experts(model: Any) -> None:
    """Replace experts in NF4 by the weights that they stand for, as every pass computes them."""
    for _, module, weight in _parametrised(model):
        plain = getattr(module, weight).detach()
        parametrize.remove_parametrizations(module, weight, leave_parametrized=False)
        setattr(module, weight, nn.Parameter(plain, requires_grad=False))


def _is_fused(model: Any, name: str) -> bool:
    count, weight = expert_count(model.config), model.get_parameter_or_buffer(name)
    return bool(count) and weight.dim() == 3 and weight.shape[0] == count


def _in_4bit(value: Tensor, bits: Any) -> Params4bit:
    packed = Params4bit(
        value, requires_grad=False, quant_type=bits.bnb_4bit_quant_type,
        compress_statistics=bits.bnb_4bit_use_double_quant,
    )  # fmt: skip
    return packed.to(value.device)


def _parametrise(model: Any) -> None:
    """Let each expert weight in 4 bit be dequantised where it is read."""
    for module in [*model.modules()]:
        for name, weight in [*module.named_parameters(recurse=False)]:
            if isinstance(weight, Params4bit) and not isinstance(module, nn.Linear):
                state = weight.quant_state.as_dict(packed=True)
                replace_parameter_4bit_prequantized(module, name, state, weight.device)
                # One state for both, as it is moved with neither.
                weight.quant_state = module.parametrizations[name][0].quant_state


def _parametrised(model: Any) -> list[tuple[str, Any, str]]:
    """Return the experts' modules with their names and those of their weights in 4 bit."""
    return [
        (name, module, weight)
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module)
        for weight, held in module.parametrizations.items()
        if isinstance(held.original, Params4bit)
    ]


def nf4_experts_config(double: bool, compute: torch.dtype) -> ExpertsConfig:
    """Return NF4 for linear layers and fused experts."""
    return ExpertsConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=compute,
    )
