"""How answers are judged on validation rows: token losses, and whether the label is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.nn.functional import cross_entropy

from hsd.prompts.render import Encoded
from hsd.training.step import targets


@dataclass(frozen=True, slots=True)
class Judged:
    """Sums over rows: token losses, learned tokens, rows, rows whose label token was on top."""

    loss: float
    tokens: float
    rows: float
    right: float


def judge(logits: torch.Tensor, rows: Sequence[Encoded], label_position: int) -> Judged:
    """Return the sums of one piece from its logits (answer tokens of all rows, vocab)."""
    expected = targets(rows, logits.device)
    loss = cross_entropy(logits, expected, reduction="sum")
    starts = accumulate((len(row.answer) for row in rows[:-1]), initial=0)
    places = torch.tensor([start + label_position for start in starts], device=logits.device)
    right = logits[places].argmax(-1) == expected[places]
    return Judged(float(loss), float(len(expected)), len(rows), float(right.sum()))
