"""What came out of loading, held against the checkpoint and against what was said of it.

The library loads what fits and remarks on the rest: gaps are filled with random numbers, packed
weights are read as plain ones when nobody says how they were packed.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from hsd.errors import ModelError
from hsd.model.model_task import require_no_head
from hsd.model.nf4_experts import NF4_EXPERTS
from hsd.model.quantization import PACKED, Quantization, is_4bit, is_packed, require_quantized

LEFT_OUT = (
    (r"rotary_emb\.(inv_freq|cos_cached|sin_cached)$", "computed from the config"),
    (r"(^|\.)position_ids$", "counted, not learned"),
    (r"(attn|attention)\.(masked_)?bias$", "the causal mask that GPT-2's kind saved with it"),
    (r"(^|\.)mtp(\.|_)", "heads that guess several tokens at once, for speed alone"),
    (
        r"(^|\.)(vision_tower|vision_model|visual|multi_modal_projector|audio_tower"
        r"|embed_vision|embed_audio)\.",
        "what sees and hears: the text model is loaded without it",
    ),
)
"""Weights that a model may leave out, and why each changes no answer. Whatever else has no place
says that the checkpoint is another model, or holds it in another form, than config.json says."""

_SCALES = re.compile(r"scale|qweight|qzeros|g_idx|absmax|quant_|SCB|_blocks$|_packed$", re.I)
_EIGHT_BIT = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "I8", "U8", "I4", "U4")


def require_whole(found: Mapping[str, Any], config: Any, name: str) -> None:
    """Raise ModelError when weights are missing, misshapen or left over; `found` is the loader's.

    config: of the checkpoint. The library would fill gaps with random numbers.
    """
    left_over = sorted(k for k in found["unexpected_keys"] if not _may_be_left_out(k, config))
    missing = sorted(found["missing_keys"])
    misshaped = sorted(k[0] if isinstance(k, tuple) else k for k in found["mismatched_keys"])
    require_no_head(left_over, name)
    if scales := [key for key in left_over if _SCALES.search(key)]:
        raise ModelError(
            f"model '{name}': {len(scales)} of its weights, such as {scales[0]}, belong to "
            "quantised weights, but config.json does not say how they were quantised. Take the "
            "same model's checkpoint in 16 bit."
        )
    if missing or misshaped:
        raise ModelError(
            f"model '{name}': {len(missing)} of its weights are missing and {len(misshaped)} have "
            f"another shape than config.json says (such as {sorted([*missing, *misshaped])[0]}); "
            "files are missing, or they and config.json are of different models. "
            "Compare the folder with the place it is from."
        )
    if left_over:
        raise ModelError(
            f"model '{name}': {len(left_over)} of its weights, such as {left_over[0]}, have no "
            "place in the model that config.json names, so it would not be the model that was "
            "trained. Take a checkpoint whose config.json belongs to it."
        )


def require_as_said(model: nn.Module, how: Quantization, dtype: torch.dtype, name: str) -> None:
    """Raise ModelError when the layers are not held as `how` says, in either direction."""
    layers = [m for m in model.modules() if type(m).__name__ in ("Linear4bit", "Linear8bitLt")]
    if how.bits is not None:
        made_here = how.loader_config is not None
        if made_here:
            require_quantized(model, name)
            _require_experts(model, how, name)
        elif not layers or not all(is_4bit(layer.weight) for layer in layers):
            # How much of itself a checkpoint keeps in 16 bit is its maker's choice.
            raise ModelError(
                f"model '{name}': config.json says that its weights are in 4 bit ({how.method}), "
                "but they are not. Take a checkpoint whose config.json belongs to it."
            )
    elif layers:
        raise ModelError(
            f"model '{name}': said to hold plain weights ({how.method}), but {len(layers)} layers "
            f"are {type(layers[0]).__name__}. Take the 16-bit checkpoint."
        )
    for weight, parameter in model.named_parameters():
        if how.method == PACKED and is_packed(parameter):
            continue
        if not is_4bit(parameter) and not _has_digits_of(parameter.dtype, dtype):
            raise ModelError(
                f"model '{name}': its weight {weight} is held in {_name(parameter.dtype)} instead "
                f"of {_name(dtype)}. Take the 16-bit checkpoint."
            )


def _require_experts(model: nn.Module, how: Quantization, name: str) -> None:
    """Raise ModelError where fused experts that were to be in 4 bit are not, one by one."""
    left = [n for n, p in model.named_parameters() if p.dim() == 3] if _with_experts(how) else []
    if left:
        raise ModelError(
            f"model '{name}': {len(left)} of its weights, such as {left[0]}, were to be put into 4 "
            "bit and are not. Set model.quantization=none."
        )


def _with_experts(how: Quantization) -> bool:
    return how.method == NF4_EXPERTS


def require_plain_files(folder: Path, name: str) -> None:
    """Raise ModelError when a checkpoint that names no quantisation stores 8-bit weights.

    Cast to 16 bit they look like any others, only that their scales are gone.
    """
    for file in sorted(folder.glob("model*.safetensors")):
        with safe_open(file, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118 - no mapping
                kind = stored.get_slice(key).get_dtype()
                if kind.startswith("F8") or (kind in _EIGHT_BIT and key.endswith("weight")):
                    raise ModelError(
                        f"model '{name}': its weight {key} is stored in 8 bit ({kind}), but "
                        "config.json names no quantisation, so its scale is unknown. Take the same "
                        "model's checkpoint in 16 bit."
                    )


def require_on(model: nn.Module, device: str, name: str) -> None:
    """Raise ModelError when a parameter or buffer is not on the device.

    transformers leaves unpacked MXFP4 experts on the CPU where the GPU had no room for them.
    """
    wanted = torch.device(device)
    for key, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.device != wanted:
            raise ModelError(
                f"model '{name}': {key} was left on {tensor.device} instead of {wanted}, as "
                "happens where memory is short while a base is unpacked. End what else runs on the "
                "GPU, take one with more memory or a smaller base."
            )


def _may_be_left_out(key: str, config: Any) -> bool:
    return any(re.search(pattern, key) for pattern, _ in LEFT_OUT) or _guesses_ahead(key, config)


def _guesses_ahead(key: str, config: Any) -> bool:
    """Whether a weight is of a layer behind the last, which DeepSeek and GLM keep for guessing."""
    text = config.get_text_config()
    ahead = getattr(text, "num_nextn_predict_layers", 0) or 0
    layer = re.search(r"(?:^|\.)layers\.(\d+)\.", key)
    last = getattr(text, "num_hidden_layers", 0) or 0
    return layer is not None and last <= int(layer[1]) < last + ahead


def _has_digits_of(held: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether a format holds each value of another: some layers are kept in float32 on purpose."""
    return bool(held.is_floating_point and torch.promote_types(held, wanted) == held)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
