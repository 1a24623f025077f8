"""Whether a base is loaded in 4 bit, decided before its weights are, and checked after.

bitsandbytes replaces `nn.Linear` only. Mixture-of-experts bases such as gpt-oss keep 91 % of their
weights in fused 3-D parameters, which it skips without a word: a "4-bit" gpt-oss-20b takes 41 GB.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Mxfp4Config, PretrainedConfig

from hsd.config.model import ModelConfig
from hsd.errors import ModelError

LEAST_SHARE = 0.5
"""A 4-bit base with less than this share of its layers' weights in 4 bit is not one.

Embeddings and head stay in 16 bit by design; in a small model they may be most of it.
"""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the base's weights are held: `nf4`, `none` or `dequantized`, and why."""

    method: str
    reason: str
    loader_config: Any = None

    @property
    def double(self) -> bool | None:
        """Whether the quantisation constants are quantised too; None without 4 bit."""
        return self.loader_config.bnb_4bit_use_double_quant if self.method == "nf4" else None


def choose(config: ModelConfig, base: PretrainedConfig, device: str) -> Quantization:
    """Return how to hold the weights of `base` on `device`.

    Raises ModelError when `nf4` is asked for and the checkpoint cannot take it. `auto` then
    falls back to 16 bit, with the reason.
    """
    wanted = config.quantization
    if wanted == "none" or (wanted == "auto" and device == "cpu"):
        return _unquantized(base, "asked for" if wanted == "none" else "4 bit is for GPUs")
    obstacle = _obstacle(base)
    if obstacle is None:
        reason = "asked for" if wanted == "nf4" else "default on a GPU"
        return Quantization("nf4", reason, nf4_config(config.double_quantization))
    if wanted == "auto":
        return _unquantized(base, f"no 4 bit: {obstacle}")
    raise ModelError(
        f"model '{config.name}': 4-bit NF4 refused: {obstacle}. "
        "Set model.quantization=none, or auto to take what the checkpoint can."
    )


def nf4_config(double: bool) -> BitsAndBytesConfig:
    """Return 4-bit NormalFloat with bfloat16 compute (QLoRA, arXiv 2305.14314)."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def require_quantized(model: nn.Module, name: str) -> None:
    """Raise ModelError when a base that was loaded in 4 bit mostly is not."""
    layers = layer_weights(model)
    share = sum(true_numel(p) for p in layers if is_4bit(p)) / sum(map(true_numel, layers))
    if share < LEAST_SHARE:
        raise ModelError(
            f"model '{name}': loaded in 4 bit, but only {share:.0%} of its layers' weights are; "
            "the rest was skipped by bitsandbytes. Set model.quantization=none."
        )


def quantized_share(model: nn.Module) -> float:
    """Return the share of all parameters that are really held in 4 bit, in [0, 1]."""
    total = sum(true_numel(p) for p in model.parameters())
    return sum(true_numel(p) for p in model.parameters() if is_4bit(p)) / total


def layer_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are no part of an embedding or of the head."""
    names = {n for n, m in model.named_modules() if isinstance(m, nn.Embedding)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    names |= {n for n, m in model.named_modules() if m is head}
    return [p for n, p in model.named_parameters() if n.rpartition(".")[0] not in names]


def is_4bit(parameter: nn.Parameter) -> bool:
    """Return whether bitsandbytes holds this parameter in 4 bit."""
    return getattr(parameter, "quant_state", None) is not None


def true_numel(parameter: nn.Parameter) -> int:
    """Return how many numbers a parameter stands for; 4-bit ones are packed two a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()


def skeleton(base: PretrainedConfig) -> nn.Module:
    """Return the model without memory for its weights (meta device), for counting."""
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(base, trust_remote_code=False)
    return model


def _obstacle(base: PretrainedConfig) -> str | None:
    """Return why a checkpoint cannot be held in NF4, None when it can."""
    method = _checkpoint_method(base)
    if method is not None:
        return f"the checkpoint is already quantised ({method})"
    model = skeleton(base)
    linear = [
        m for n, m in model.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in n
    ]
    share = sum(m.weight.numel() for m in linear) / sum(p.numel() for p in layer_weights(model))
    if share >= LEAST_SHARE or not _has_fused_weights(model):
        return None
    return (
        f"only {share:.0%} of its layers' weights are in linear ones; the rest, such as fused "
        "experts, would silently stay in 16 bit"
    )


def _has_fused_weights(model: nn.Module) -> bool:
    """Whether matrices hide in parameters that belong to no linear layer or embedding."""
    return any(p.dim() >= 3 for p in model.parameters())


def _checkpoint_method(base: PretrainedConfig) -> str | None:
    quantization = getattr(base, "quantization_config", None)
    if quantization is None:
        return None
    content = quantization if isinstance(quantization, dict) else quantization.to_dict()
    return str(content.get("quant_method", "unknown"))


def _unquantized(base: PretrainedConfig, reason: str) -> Quantization:
    if _checkpoint_method(base) == "mxfp4":
        # transformers cannot train packed MXFP4; unpacked to 16 bit it is exact.
        return Quantization(
            "dequantized", f"{reason}; MXFP4 unpacked", Mxfp4Config(dequantize=True)
        )
    return Quantization("none", reason)
