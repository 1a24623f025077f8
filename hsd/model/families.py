"""Which attention code a model gets: what its classes say they can, but for known exceptions."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from hsd.errors import ModelError

NO_FLASH = frozenset({"gpt_oss"})
"""FlashAttention 2 gave silent garbage on gpt-oss (transformers issue 42736)."""


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention code that the library is asked for, and why."""

    code: str
    reason: str


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
    if asked == "flash_attention_2" and (family in NO_FLASH or device == "cpu"):
        where = "on a CPU" if device == "cpu" else "on this family"
        raise ModelError(f"model.attention flash_attention_2 does not work {where}; use auto.")
    needs = {"sdpa": "_supports_sdpa", "flash_attention_2": "_supports_flash_attn"}
    if asked in needs and (without := _without(model, needs[asked])):
        raise ModelError(
            f"model.attention {asked}: {without} has no code for it (sinks and soft caps of the "
            f"scores, for example, it cannot do); use auto{_instead(name, asked)}."
        )
    return Attention(asked, "asked for")


def _instead(name: str, asked: str) -> str:
    return f", which takes eager for {name}" if asked == "sdpa" else ""


def _without(model: nn.Module, ability: str) -> str | None:
    """Return the class of the first part of a model that lacks an ability, None when all have."""
    parts = (m for m in model.modules() if isinstance(m, PreTrainedModel))
    return next((type(p).__name__ for p in parts if not getattr(p, ability, False)), None)
