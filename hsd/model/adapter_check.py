"""Whether an adapter does something to its base, and leaves the base as it was when it is off."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsd.errors import ModelError
from hsd.model.adapter_folder import CONFIG
from hsd.model.base import Base

log = logging.getLogger(__name__)

SAME_LOGITS, SAME_LOGITS_16_BIT = 1e-3, 0.25
"""Largest difference of a logit between a base and the model with its adapter off, which compute
the same. Not 0, as some kernels sum in no fixed order; the second as measured in merge_check for
16-bit arithmetic."""


def probe(model: Any) -> Tensor:
    """Return a model's logits on a few tokens, any of them; shape (1, 8, vocab)."""
    tokens = torch.arange(3, 11, device=next(model.parameters()).device)[None]
    with torch.inference_mode():
        logits: Tensor = model(input_ids=tokens).logits
    return logits


def is_packed_by_use(base: Base) -> bool:
    """On some CPUs a pass packs 4-bit weights, and loading others then unpacks them with loss.

    Measured: .002 in a logit. Such a base is not asked before; no load rewrites it either.
    """
    return base.quantization.bits is not None and base.placement.device == "cpu"


def require_effect(adapted: Tensor, plain: Tensor, folder: Path) -> None:
    """Raise ModelError when an adapter changes no logit, or makes them no numbers."""
    difference = (adapted - plain).abs().max().item()
    log.info("adapter %s: largest logit difference to the base %.4g", folder, difference)
    if difference == 0.0 or difference != difference:
        what = "changes nothing" if difference == 0.0 else "gives logits that are not numbers"
        raise ModelError(
            f"{folder}: the adapter {what}; it was not trained, or its files are damaged."
        )


def require_same(off: Tensor, plain: Tensor, base: Base, folder: Path) -> None:
    """Raise ModelError when loading left another base, whatever the adapter's settings say."""
    difference = (off - plain).abs().max().item()
    exact = base.placement.dtype == torch.float32 and base.quantization.bits is None
    if not difference <= (SAME_LOGITS if exact else SAME_LOGITS_16_BIT):
        raise ModelError(
            f"{folder}: switched off, the adapter leaves a model whose logits differ by "
            f"{difference:.2g} from its base's, and nothing in {CONFIG} says why; give the model "
            "that was merged where it was trained."
        )
