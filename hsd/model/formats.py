"""What a checkpoint says of how its own weights are quantised, and what hsd does with each kind."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from transformers import BitsAndBytesConfig, PretrainedConfig

Way = Literal["plain", "as is", "unpack", "refuse"]

REFUSED = {
    "fp8": "8-bit floats (FP8)",
    "fbgemm_fp8": "8-bit floats (FP8)",
    "mxfp8": "8-bit floats (MXFP8)",
    "nvfp4": "4-bit floats (NVFP4)",
    "modelopt": "NVIDIA ModelOpt's form",
    "gptq": "GPTQ's integers",
    "awq": "AWQ's integers",
    "auto-round": "AutoRound's integers",
    "compressed-tensors": "the form of compressed-tensors",
    "hqq": "HQQ's integers",
    "torchao": "torchao's form",
    "quanto": "quanto's form",
    "bitnet": "BitNet's 1.58 bit",
}
"""Kinds that people meet, in words. Adapters are not trained on them, their weights are not
counted or merged, and most need kernels of their own: refused, as is every kind not known here."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How a checkpoint's weights are stored, and the way they are taken."""

    way: Way
    kind: str
    """For people: `bitsandbytes nf4`, `FP8`."""
    bits: BitsAndBytesConfig | None = None
    """The checkpoint's own 4 bit, where it is taken as it is."""


def stored(config: PretrainedConfig) -> Stored:
    """Return how a checkpoint's weights are stored, by its config."""
    own = _own_words(config)
    if own is None:
        return Stored("plain", "16 or 32 bit")
    method = str(own.get("quant_method") or "unknown")
    if method == "mxfp4":
        return Stored("unpack", "mxfp4")
    if own.get("load_in_4bit") and method in ("bitsandbytes", "unknown"):
        bits = BitsAndBytesConfig.from_dict(dict(own))
        return Stored("as is", f"bitsandbytes {bits.bnb_4bit_quant_type}", bits)
    if method == "bitsandbytes":
        return Stored("refuse", "bitsandbytes' 8-bit integers (quant_method bitsandbytes)")
    words = REFUSED.get(method, "a form that hsd does not know")
    return Stored("refuse", f"{words} (quant_method {method})")


def without_quantization(config: PretrainedConfig) -> PretrainedConfig:
    """Return a copy of a config without a word on how its checkpoint is quantised."""
    config = copy.deepcopy(config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def _own_words(config: PretrainedConfig) -> Mapping[str, Any] | None:
    """Return the checkpoint's own quantisation; compressed-tensors once had another name for it,
    and a base that sees pictures may keep it with its text model."""
    for part in (config, config.get_text_config()):
        for key in ("quantization_config", "compression_config"):
            found = getattr(part, key, None)
            if found:
                return found if isinstance(found, dict) else dict(found.to_dict())
    return None
