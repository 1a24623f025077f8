"""How a base's weights are held, decided before they are loaded, and checked after.

bitsandbytes replaces `nn.Linear` only. Mixture-of-experts bases such as gpt-oss keep 91 % of their
weights in fused 3-D parameters, which it skips without a word: a "4-bit" gpt-oss-20b takes 41 GB.
Released in MXFP4, gpt-oss is in 4 bit already, and stays packed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Mxfp4Config, PretrainedConfig

from hsd.config.model_config import ModelConfig
from hsd.config.model_config import Quantization as QuantizationSetting
from hsd.errors import ModelError
from hsd.model.formats import Stored, stored
from hsd.model.memory_parts import weights_bytes
from hsd.model.nf4_experts import NF4_EXPERTS, ExpertsConfig, fused_experts, nf4_experts_config
from hsd.model.packed_experts import PackedConfig, pack

LEAST_SHARE = 0.5
"""A base that was put into 4 bit with less than this share of its layers' weights in it is not one.

Embeddings and head stay in 16 bit by design; in a small model they may be most of it.
"""

BLOCK_DIMENSIONS = 4
"""Of packed blocks: expert, output, group, byte. Their scales have one less."""
PACKED = "packed"
"""The method of MXFP4 experts that stay as their checkpoint stores them."""
PACKED_FAMILIES = frozenset({"gpt_oss"})


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the base's weights are held, and why.

    method: `nf4`, `nf4_experts`, `fp4`, `packed` (MXFP4 as stored), `dequantized` (MXFP4 unpacked)
    or `none`.
    """

    method: str
    reason: str
    loader_config: Any = None
    """What the loader is told; None leaves the checkpoint's own word to it."""
    bits: BitsAndBytesConfig | None = None
    """The 4 bit that the weights are in, made here or the checkpoint's own."""

    @property
    def double(self) -> bool | None:
        """Whether the quantisation constants are quantised too; None without 4 bit."""
        return bool(self.bits.bnb_4bit_use_double_quant) if self.bits else None

    @property
    def compute_dtype(self) -> str | None:
        """The number format that 4-bit weights are computed in; None without 4 bit."""
        return str(self.bits.bnb_4bit_compute_dtype).removeprefix("torch.") if self.bits else None


def choose_quantization(
    config: ModelConfig,
    base: PretrainedConfig,
    device: str,
    compute: torch.dtype = torch.bfloat16,
) -> Quantization:
    """Return how to hold the weights of `base` on `device`; 4 bit made here computes in `compute`.

    A checkpoint that is in 4 bit already is taken as it is. Raises ModelError when what is asked
    for is not what the checkpoint can give, or when it is quantised in a way that hsd does not
    take. `auto` falls back to 16 bit, with the reason, where 4 bit cannot be made.
    """
    own, wanted = stored(base), config.quantization
    if own.way == "refuse":
        raise ModelError(
            f"model '{config.name}': its weights are stored in {own.kind}, which hsd does not "
            "take. Take the same model's checkpoint in 16 bit; model.quantization=nf4 puts it "
            "into 4 bit."
        )
    if own.bits is not None:
        return _as_is(config, own, own.bits)
    if wanted != "none" and can_stay_packed(base):
        return _packed(wanted)
    if wanted == "none" or (wanted == "auto" and device == "cpu"):
        return _unquantized(own, "asked for" if wanted == "none" else "4 bit is for GPUs")
    if wanted == NF4_EXPERTS:
        return _experts_too(config, base, compute)
    obstacle = why_not_nf4(base)
    if obstacle is None:
        reason = "asked for" if wanted == "nf4" else "default on a GPU"
        bits = nf4_config(config.double_quantization, compute)
        return Quantization("nf4", reason, bits, bits)
    if wanted == "auto":
        return _unquantized(own, f"no 4 bit: {obstacle}")
    raise ModelError(
        f"model '{config.name}': 4-bit NF4 refused: {obstacle}. "
        f"Set model.quantization=none, {_or_experts(base)}or auto to take what the checkpoint can."
    )


def again(held: str | None) -> QuantizationSetting:
    """Return the setting that holds a base as it was held before, as `Quantization.method` says.

    FP4 and packed MXFP4 have none of their own: only a checkpoint that is in it comes in it.
    """
    held_as: dict[str | None, QuantizationSetting] = {
        "nf4": "nf4", NF4_EXPERTS: "nf4_experts", "fp4": "auto", PACKED: "auto", None: "auto",
    }  # fmt: skip
    return held_as.get(held, "none")


def is_kept(asked: QuantizationSetting, held: str | None) -> bool:
    """Return whether a setting leaves a base as it was held before; packed is 4 bit too."""
    if asked == "auto" or held == asked:
        return True
    if asked == "none":
        return not (in_4bit(held) or held == PACKED)
    return held == PACKED or (asked == "nf4" and held == "fp4")


def in_4bit(held: str | None) -> bool:
    """Return whether a method that a manifest names is a 4 bit of bitsandbytes."""
    return held in ("nf4", "fp4", NF4_EXPERTS)


def nf4_config(double: bool, compute: torch.dtype = torch.bfloat16) -> BitsAndBytesConfig:
    """Return 4-bit NormalFloat (QLoRA, arXiv 2305.14314)."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=compute,
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
    held = (p for p in model.parameters() if is_4bit(p) or is_packed(p))
    return sum(true_numel(p) for p in held) / total


def layer_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are no part of an embedding or of the head."""
    names = {n for n, m in model.named_modules() if isinstance(m, nn.Embedding)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    names |= {n for n, m in model.named_modules() if m is head}
    return [p for n, p in model.named_parameters() if n.rpartition(".")[0] not in names]


def is_4bit(parameter: nn.Parameter) -> bool:
    """Return whether bitsandbytes holds this parameter in 4 bit."""
    return getattr(parameter, "quant_state", None) is not None


def is_packed(parameter: nn.Parameter) -> bool:
    """Return whether a parameter holds the blocks or the scales of packed experts."""
    return parameter.dtype == torch.uint8 and not is_4bit(parameter)


def true_numel(parameter: nn.Parameter) -> int:
    """Return how many numbers a parameter stands for; 4-bit ones are packed two a byte.

    Scales of packed experts are no weights: 0.
    """
    if is_packed(parameter):
        return 2 * parameter.numel() if parameter.dim() == BLOCK_DIMENSIONS else 0
    state = getattr(parameter, "quant_state", None)
    return int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()


def held_bytes(hollow: Any, bits: BitsAndBytesConfig | None, dtype: torch.dtype) -> float:
    """Return what the weights of a base on the meta device take when held so, in bytes."""
    as_stored = sum(p.numel() for p in hollow.parameters() if is_packed(p))
    in_4bit = _weights_in_4bit(hollow, bits) if bits is not None else set()
    numbers = {n: p.numel() for n, p in hollow.named_parameters() if not is_packed(p)}
    in_bits = sum(count for name, count in numbers.items() if name in in_4bit)
    double = bool(bits and bits.bnb_4bit_use_double_quant)
    rest = weights_bytes(sum(numbers.values()), in_bits, double, dtype.itemsize)
    return float(as_stored) + rest


def skeleton(base: PretrainedConfig, method: str = "none") -> nn.Module:
    """Return the model without memory for its weights (meta device), for counting.

    By the method `packed` with packed experts.
    """
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(base, trust_remote_code=False)
    if method == PACKED:
        pack(model)
    return model


def can_stay_packed(base: PretrainedConfig) -> bool:
    """Return whether a checkpoint stores experts that can be used packed."""
    return stored(base).way == "unpack" and base.model_type in PACKED_FAMILIES


def why_not_nf4(base: PretrainedConfig) -> str | None:
    """Return why a checkpoint cannot be put into NF4, None when it can."""
    own = stored(base)
    if own.way != "plain":
        return f"the checkpoint is already quantised ({own.kind})"
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


def _weights_in_4bit(hollow: Any, bits: BitsAndBytesConfig) -> set[str]:
    """Return the names of the weights that bitsandbytes puts into 4 bit."""
    head, left_out = hollow.get_output_embeddings(), bits.llm_int8_skip_modules or []
    experts = fused_experts(hollow) if isinstance(bits, ExpertsConfig) else []
    return set(experts) | {
        f"{name}.weight"
        for name, module in hollow.named_modules()
        if isinstance(module, nn.Linear) and module is not head
        if not any(part in name for part in left_out)
    }


def _experts_too(config: ModelConfig, base: PretrainedConfig, compute: torch.dtype) -> Quantization:
    """Return NF4 with fused experts. Raises ModelError for a base that cannot have them in NF4."""
    own, refused = stored(base), f"model '{config.name}': model.quantization={NF4_EXPERTS} refused:"
    if own.way != "plain":
        raise ModelError(
            f"{refused} the checkpoint is already quantised ({own.kind}). Set "
            "model.quantization=none, or auto to take what the checkpoint can."
        )
    if not fused_experts(skeleton(base)):
        raise ModelError(f"{refused} it has no fused experts. Set model.quantization=nf4, or auto.")
    bits = nf4_experts_config(config.double_quantization, compute)
    return Quantization(NF4_EXPERTS, "asked for, fused experts too", bits, bits)


def _or_experts(base: PretrainedConfig) -> str:
    has_experts = stored(base).way == "plain" and fused_experts(skeleton(base))
    return f"{NF4_EXPERTS} for the experts too, " if has_experts else ""


def _has_fused_weights(model: nn.Module) -> bool:
    """Whether matrices hide in parameters that belong to no linear layer or embedding."""
    return any(p.dim() >= 3 for p in model.parameters())


def _as_is(config: ModelConfig, own: Stored, bits: BitsAndBytesConfig) -> Quantization:
    """Return a 4-bit checkpoint as it is; what is asked for and is not in it is refused."""
    method = bits.bnb_4bit_quant_type
    if config.quantization not in ("auto", method):
        raise ModelError(
            f"model '{config.name}': model.quantization={config.quantization}, but the checkpoint "
            f"itself is in 4 bit ({own.kind}), and nothing else can be made of it. Set "
            "model.quantization=auto, or name the 16-bit checkpoint that it was made from."
        )
    constants = "quantised" if bits.bnb_4bit_use_double_quant else "in float32"
    return Quantization(
        method, f"the checkpoint is in it already ({own.kind}, constants {constants})", None, bits
    )


def _packed(wanted: QuantizationSetting) -> Quantization:
    reason = "the checkpoint stores its experts in 4 bit (MXFP4), and they stay packed"
    if wanted in ("nf4", NF4_EXPERTS):
        reason = f"{reason}; NF4 would round them a second time"
    return Quantization(PACKED, reason, PackedConfig())


def _unquantized(own: Stored, reason: str) -> Quantization:
    if own.way == "unpack":
        # transformers cannot train packed MXFP4; unpacked to 16 bit it is exact.
        return Quantization(
            "dequantized", f"{reason}; MXFP4 unpacked", Mxfp4Config(dequantize=True)
        )
    return Quantization("none", reason)
