"""What makes one adapter better than another, as a pure function of what validation said.

Everything follows from the Trainer's own log, which its checkpoints carry, so that a resumed run
keeps the adapter that the uninterrupted one keeps.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hsd.config.train_config import SelectionConfig

LOSS = SelectionConfig()


def evaluations(
    history: Sequence[Mapping[str, Any]], selection: SelectionConfig = LOSS
) -> list[tuple[int, float]]:
    """Return step and badness (lower is better) of each evaluation in a Trainer's log."""
    return [(row["step"], badness(row, selection)) for row in history if "eval_loss" in row]


def badness(row: Mapping[str, Any], selection: SelectionConfig) -> float:
    """Return how bad an adapter is; infinite where its metric is not defined.

    Within a gap that is asked for, a higher F1 is better; beyond it, worse than any within, and
    the smaller gap is better.
    """
    if selection.metric == "loss":
        return float(row["eval_loss"])
    if selection.metric != "f1_within_gap":
        return -float(row.get(f"eval_{selection.metric}", -math.inf))
    assert selection.max_gap is not None
    gap = float(row.get("eval_gap", math.inf))
    if gap > selection.max_gap:
        return 1 + gap
    return -float(row.get("eval_f1", -math.inf))
