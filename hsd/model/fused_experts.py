"""Adapters of mixtures of experts whose experts became one parameter in transformers 5.

Before, each expert had linear layers of its own, and adapters in circulation name those. peft takes
such names, `gate_proj` or `all-linear` among them, for the fused experts: right for an adapter of
that time, and not what a new one is asked for.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from peft import LoraConfig, PeftModel
from peft.utils.transformers_weight_conversion import (
    convert_peft_adapter_state_dict_for_transformers,
    convert_peft_config_for_transformers,
)
from torch import Tensor, nn

from hsd.errors import ModelError
from hsd.model.lora_targets import last_name

_SINGLE = re.compile(r"\.experts\.\d+\..*lora_[AB]")


def fuse_experts(config: LoraConfig, model: Any) -> None:
    """Let an adapter's config name the fused experts for the single ones. Raises ValueError."""
    convert_peft_config_for_transformers(config, model, None)


def fused_weights(model: PeftModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an adapter's weights with those of single experts put together.

    Raises ModelError where peft cannot.
    """
    if not any(map(_SINGLE.search, weights)):
        return dict(weights)
    try:
        made: dict[str, Tensor] = convert_peft_adapter_state_dict_for_transformers(
            model, model.peft_config["default"], dict(weights)
        )
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        raise ModelError(
            f"its weights are for single experts, and cannot be put together ({error}). Merge it "
            "where it was trained, and give the merged folder as the model."
        ) from None
    return made


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
