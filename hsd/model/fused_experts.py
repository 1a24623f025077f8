"""Adapters of mixtures of experts whose experts became one parameter in transformers 5.

Before, each expert had linear layers of its own, and adapters in circulation name those. peft takes
such names, `gate_proj` or `all-linear` among them, for the fused experts: right for an adapter of
that time, and not what a new one is asked for.
"""

import math
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel
from peft.tuners.lora import ParamWrapper
from peft.utils.transformers_weight_conversion import (
    convert_peft_adapter_state_dict_for_transformers,
    convert_peft_config_for_transformers,
)
from torch import Tensor, nn

from hsd.errors import ModelError
from hsd.model.lora_targets import last_name, matches

_SINGLE = re.compile(r"\.experts\.\d+\..*lora_[AB]")
_MERGE = "Merge it where it was trained, and give the merged folder as the model."


def fuse_experts(config: LoraConfig, model: Any) -> None:
    """Let an adapter's config name the fused experts for the single ones. Raises ValueError.

    What peft says of the fused pairs comes before the file's own patterns, as the first counts.
    """
    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    config.rank_pattern, config.alpha_pattern = {}, {}
    convert_peft_config_for_transformers(config, model, None)
    pairs, scaled = dict(config.rank_pattern), _alphas(config)
    config.rank_pattern, config.alpha_pattern = pairs | ranks | pairs, scaled | alphas | scaled


def _alphas(config: LoraConfig) -> dict[str, Any]:
    """Return the alphas of fused pairs under which each half is scaled as it was alone.

    peft doubles rank and alpha, which keeps alpha / rank, but not rsLoRA's alpha / sqrt(rank).
    """
    if not config.use_rslora:
        return dict(config.alpha_pattern)
    ranks = config.rank_pattern
    return {
        key: alpha * math.sqrt(config.r / ranks[key]) for key, alpha in config.alpha_pattern.items()
    }


def fused_weights(model: PeftModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an adapter's weights with those of single experts put together.

    Raises ModelError where peft cannot, and where a pattern gives single experts a rank or an
    alpha of their own, which peft would not give their part of the fused ones.
    """
    single = list(filter(_SINGLE.search, weights))
    if not single:
        return dict(weights)
    _require_no_patterns(model.peft_config["default"], single)
    try:
        made: dict[str, Tensor] = convert_peft_adapter_state_dict_for_transformers(
            model, model.peft_config["default"], dict(weights)
        )
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        raise ModelError(
            f"its weights are for single experts, and cannot be put together ({error}). {_MERGE}"
        ) from None
    return made


def _require_no_patterns(config: Any, single: Sequence[str]) -> None:
    """Raise ModelError for a pattern that matches an expert, by its own name or the fused one."""
    layers = {weight.removeprefix("base_model.model.").partition(".lora_")[0] for weight in single}
    names = sorted(layers | {re.sub(r"(\.experts)\.\d+\.", r"\1.", layer) for layer in layers})
    for setting in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(config, setting):
            if found := next((name for name in names if matches(pattern, name)), None):
                raise ModelError(
                    f"its {setting} '{pattern}' matches {found}, one of the single experts that "
                    f"are fused in this base, where it cannot be kept. {_MERGE}"
                )


def renames_experts(model: Any) -> bool:
    """Return whether peft takes `all-linear` for more than the linear layers of a base."""
    config = LoraConfig(target_modules="all-linear")
    fuse_experts(config, model)
    return bool(config.target_parameters)


def linear_names(model: Any, left_out: Sequence[str]) -> tuple[str, ...]:
    """Return the last names of all linear layers but the head, `left_out` parts aside."""
    head = model.get_output_embeddings()
    names = {
        last_name(name)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
        if not any(f"{name}.".startswith(f"{part}.") for part in left_out)
    }
    return tuple(sorted(names))


def require_unchanged(config: LoraConfig, model: Any, base: str) -> None:
    """Raise ModelError where peft would take layers that are asked for to be fused experts."""
    tried = deepcopy(config)
    try:
        fuse_experts(tried, model)
    except ValueError:
        changed = True  # some of the names alone
    else:
        asked = set(config.target_parameters or ())
        changed = set(tried.target_parameters or ()) != asked
    if changed:
        raise ModelError(
            f"lora.target_modules: peft takes gate, gate_proj, up_proj and down_proj of {base} for "
            "its fused experts, whatever other layers have these names. Set "
            "lora.target_modules=attention, or experts for the fused experts alone."
        )


def require_known_sides(model: PeftModel, said: Mapping[str, Any], folder: Path) -> None:
    """Raise ModelError for an adapter on square experts that may be the other way round.

    Before 0.19 peft took the outputs of (expert, output, input) for its inputs. Where the two
    differ in number, such an adapter does not fit.
    """
    version = said.get("peft_version") or "unknown"
    if not said.get("target_parameters") or _release(version) >= (0, 19):
        return
    for name, layer in model.named_modules():
        if isinstance(layer, ParamWrapper) and _may_be_turned(layer):
            raise ModelError(
                f"{folder}: made by peft {version}; before 0.19 peft held inputs and outputs of "
                f"experts the other way round, which nothing shows where {layer.parameter_name} is "
                f"square ({name}). Where 0.19 or newer made it, set its peft_version in "
                f"adapter_config.json. {_MERGE}"
            )


def _may_be_turned(layer: ParamWrapper) -> bool:
    shape = layer.get_param().shape
    turned = getattr(layer.get_base_layer(), "is_transposed", False)
    return len(shape) == 3 and shape[1] == shape[2] and not turned


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()
