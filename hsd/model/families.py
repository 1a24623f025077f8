"""Which attention code a model gets: what its classes say they can, but for known exceptions.

By family and device: eager runs everywhere, ABILITIES are asked of the classes, NO_CPU and
NO_FAMILY are refused although the classes have them.
"""

from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from hsd.errors import ModelError
from hsd.model.flex_mask import FLEX

ABILITIES = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flex": "_supports_flex_attn",
}
"""What the library's classes call that they have an attention code."""

LIBRARY_NAMES = {"flex": FLEX}
"""Codes that the library calls otherwise."""

NO_CPU = frozenset({"flash_attention_2", "flex"})
"""flex has no gradient on a CPU, and no sinks; it gave NaN for a Llama there."""

NO_FAMILY = {"flash_attention_2": frozenset({"gpt_oss"})}
"""FlashAttention 2 gave silent garbage on gpt-oss (transformers issue 42736)."""


MOST = 10_000
"""Layers or experts of one layer. The largest models have some 130 and 520."""
_COUNTS = ("num_hidden_layers", "num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention code that the library is asked for, and why."""

    code: str
    """As model.attention says it."""
    reason: str

    @property
    def library_name(self) -> str:
        """The same, as transformers says it."""
        return LIBRARY_NAMES.get(self.code, self.code)


def forget_choices(config: PretrainedConfig) -> PretrainedConfig:
    """Take out of a config.json which code it wants to run with; return the config.

    It would win over what is asked for here, and a name such as `owner/repo` would be fetched from
    the hub as a kernel.
    """
    config._attn_implementation = None
    config._experts_implementation = None
    return config


def require_countable(config: PretrainedConfig, name: str) -> None:
    """Raise ModelError for more layers or experts than a model can have.

    The library makes a Python object of each, with or without weights: a billion take for ever.
    """
    for part in _configs(config):
        for key in _COUNTS:
            count = getattr(part, key, None)
            if isinstance(count, int) and not 0 <= count <= MOST:
                raise ModelError(
                    f"model '{name}': config.json says {key} {count:,}; no model has more than "
                    f"{MOST:,}. Copy or download it again."
                )


def require_attention(model: PreTrainedModel, asked: Attention, name: str) -> None:
    """Raise ModelError when a loaded model, or a part of it, runs another attention code."""
    parts = {config._attn_implementation for config in _configs(model.config)}
    if other := parts - {asked.library_name, None}:
        raise ModelError(
            f"model '{name}': it was loaded with attention {sorted(other)[0]}, though {asked.code} "
            "was asked for; take out of its config.json what names another."
        )


def _configs(config: PretrainedConfig) -> list[PretrainedConfig]:
    parts = (getattr(config, key, None) for key in getattr(config, "sub_configs", ()))
    return [config, *(part for part in parts if part is not None)]


def attention_for(model: nn.Module, asked: str, device: str) -> Attention:
    """Return the attention code for a model (one without weights will do) on a device.

    `auto` is sdpa where each part of the model has it, else eager, which all have. Raises
    ModelError for a combination that cannot work; nothing that was asked for is replaced.
    """
    name = type(model).__name__
    if asked == "auto":
        if without := _without(model, "_supports_sdpa"):
            return Attention("eager", f"{without} has no sdpa")
        return Attention("sdpa", "torch's own")
    family = getattr(getattr(model, "config", None), "model_type", "")
    no_cpu = device == "cpu" and asked in NO_CPU
    if no_cpu or family in NO_FAMILY.get(asked, ()):
        where = "on a CPU" if no_cpu else "on this family"
        raise ModelError(f"model.attention {asked} does not work {where}; use auto.")
    if asked in ABILITIES and (without := _without(model, ABILITIES[asked])):
        raise ModelError(
            f"model.attention {asked}: {without} has no code for it (sinks and soft caps of the "
            f"scores, for example, it cannot do); use auto{_instead(name, asked)}."
        )
    return Attention(asked, "asked for")


def why_not_flex(model: nn.Module, device: str) -> str | None:
    """Return why a model cannot learn with flex attention on a device; None where it can."""
    try:
        attention_for(model, "flex", device)
    except ModelError as error:
        return str(error)
    text = model.config.get_text_config()
    drops = getattr(text, "attention_dropout", 0) or getattr(text, "attn_pdrop", 0)
    return "flex attention has no dropout of its own" if drops else None


def _instead(name: str, asked: str) -> str:
    return f", which takes eager for {name}" if asked == "sdpa" else ""


def _without(model: nn.Module, ability: str) -> str | None:
    """Return the class of the first part of a model that lacks an ability, None when all have."""
    parts = (m for m in model.modules() if isinstance(m, PreTrainedModel))
    return next((type(p).__name__ for p in parts if not getattr(p, ability, False)), None)
