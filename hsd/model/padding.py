"""Rows padded to one length, the form that any architecture takes."""

from collections.abc import Sequence
from typing import Any

import torch


def left_padded(
    rows: Sequence[Sequence[int]], pad: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask (rows, tokens), rows against the right edge."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Return each token's place in its row (rows, tokens), padding not counted."""
    return (mask.cumsum(1) - 1).clamp(min=0)
