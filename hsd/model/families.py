"""What each model family is known to be right with; anything not listed takes the library's word.

A new family needs a line here only when a default of transformers is wrong for it.
"""

from hsd.errors import ModelError

NEEDS_EAGER = frozenset({"gpt_oss"})
"""Attention sinks: no SDPA kernel takes them, and flex attention refuses a CPU."""

NO_FLASH = frozenset({"gpt_oss"})
"""FlashAttention 2 gave silent garbage on gpt-oss (transformers issue 42736)."""


def attention_for(model_type: str, asked: str, device: str) -> str:
    """Return the attention code for a family on a device.

    Raises ModelError for a combination known to be wrong; nothing is replaced silently.
    """
    if asked == "auto":
        return "eager" if model_type in NEEDS_EAGER else "sdpa"
    if asked == "flash_attention_2" and (model_type in NO_FLASH or device == "cpu"):
        where = "on a CPU" if device == "cpu" else "on this family"
        raise ModelError(f"model.attention flash_attention_2 does not work {where}; use auto.")
    if asked == "sdpa" and model_type in NEEDS_EAGER:
        raise ModelError(f"model.attention sdpa cannot do the sinks of {model_type}; use auto.")
    return asked
