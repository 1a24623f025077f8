"""Whether a run computes shared prompts once, decided from its rows and checked on its model."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from hsd.config.train import TrainConfig
from hsd.errors import TrainingError
from hsd.model.judging import judging
from hsd.model.packing import obstacle, tolerance
from hsd.prompts.render import Encoded
from hsd.training.arguments import recomputes
from hsd.training.batches import PADDING, epoch_order
from hsd.training.pieces import (
    WORTH_IT,
    Limits,
    Sharing,
    Work,
    expected_gain,
    find_sharing,
    grouped,
    length,
    pair_cost,
    plain_work,
)
from hsd.training.rows import TrainingRows
from hsd.training.step import piece_logits, targets

log = logging.getLogger(__name__)

STEPS_LOOKED_AT = 50
"""Steps of the first epoch that the expected gain is taken from."""

GROUPS_CHECKED = 4
"""Of rows asked alike; of each the shortest and the longest row are computed both ways."""


@dataclass(frozen=True, slots=True)
class Computing:
    """How a run's rows are computed. `sharing` is None where each row is computed whole."""

    limits: Limits
    sharing: Sharing | None
    gain: float
    reason: str

    def work(self, rows: Sequence[Encoded]) -> list[Work]:
        """Return how the rows of one step are learned."""
        return self.sharing.work(rows) if self.sharing else [plain_work(rows, self.limits)]

    def facts(self) -> dict[str, Any]:
        """Return the decision for the manifest."""
        prefixes = self.sharing.prefixes.values() if self.sharing else []
        return {
            "shared": self.sharing is not None,
            "prefix_tokens": [len(prefix) for prefix in prefixes],
            "expected_gain": round(self.gain, 2),
            "reason": self.reason,
        }


def choose(model: Any, config: TrainConfig, rows: TrainingRows) -> Computing:
    """Return how a run computes its rows. `auto` shares where it pays and a check passes.

    Raises TrainingError when sharing is asked for and the model cannot do it.
    """
    asked = config.training.prefix_sharing
    limits = _limits(model, config, rows)
    sharing = find_sharing([*rows.train, *rows.validation], limits)
    gain = expected_gain(_first_steps(config, rows), sharing)
    if asked == "off":
        return Computing(limits, None, gain, "Rows are computed whole, as asked.")
    if asked == "auto" and gain < WORTH_IT:
        reason = f"Rows are computed whole: sharing prompts would gain little ({gain:.2f}x)."
        return Computing(limits, None, gain, reason)
    if problem := why_not(model, rows.train, sharing):
        if asked == "on":
            raise TrainingError(
                f"training.prefix_sharing=on: {problem}. Set it to auto or off, which computes "
                "each row whole."
            )
        log.warning("prompts are not shared: %s", problem)
        return Computing(limits, None, gain, f"Rows are computed whole: {problem}.")
    return Computing(limits, sharing, gain, _sentence(sharing, rows.train, gain))


def why_not(model: Any, rows: Sequence[Encoded], sharing: Sharing) -> str | None:
    """Return why this model's rows must not share their prompts; None when they may.

    A few rows' answers are computed both ways. A model that makes its own masks, as packing by
    `position_ids` leaves it to, would let rows see each other.
    """
    if problem := obstacle(model):
        return problem
    groups = list(grouped(rows).values())[:GROUPS_CHECKED]
    ends = [end for group in groups for end in (min(group, key=length), max(group, key=length))]
    with judging(model):
        difference = _difference(model, list({row.id: row for row in ends}.values()), sharing)
    if difference <= tolerance(model):
        return None
    return f"rows that share a prompt give other probabilities than alone (by {difference:.2g})"


def _difference(model: Any, rows: Sequence[Encoded], sharing: Sharing) -> float:
    """Return the largest mean difference of a row; 0 where a row alone gives no number.

    Such a row stops the run with its name at the step that learns it, however it is computed.
    """
    alone = _log_probabilities(model, [Work("alone", [], [[row] for row in rows], cost=0)])
    if not all(own.isfinite().all() for own in alone.values()):
        return 0.0
    shared = _log_probabilities(model, sharing.work(rows))
    return max(float((shared[name] - own).abs().mean()) for name, own in alone.items())


def _log_probabilities(model: Any, works: Sequence[Work]) -> dict[str, torch.Tensor]:
    """Return each row's log-probabilities of its answer tokens, by row id."""
    found: dict[str, torch.Tensor] = {}
    for rows, logits in piece_logits(model, works, pad_id=0):
        expected = targets(rows, logits.device)[:, None]
        taken = logits.log_softmax(-1).gather(1, expected)[:, 0]
        parts = taken.split([len(row.answer) for row in rows])
        found |= {row.id: part for row, part in zip(rows, parts, strict=True)}
    return found


def _limits(model: Any, config: TrainConfig, rows: TrainingRows) -> Limits:
    text = model.config.get_text_config()
    return Limits(
        batch_size=config.training.batch_size,
        longest=max(map(length, [*rows.train, *rows.validation])),
        pair_tokens=pair_cost(text),
        keeps_scores=text._attn_implementation == "eager",
        recomputes=recomputes(config.training, model.device.type),
    )


def _first_steps(config: TrainConfig, rows: TrainingRows) -> Iterator[list[Encoded]]:
    own = config.training.batch_size * config.training.accumulation
    lengths = [length(row) for row in rows.train]
    order = [i for i in epoch_order(lengths, own, 1, config.seed, epoch=0) if i != PADDING]
    steps = (order[at : at + own] for at in range(0, len(order), own))
    return ([rows.train[i] for i in step] for step in islice(steps, STEPS_LOOKED_AT))


def _sentence(sharing: Sharing, rows: Sequence[Encoded], gain: float) -> str:
    shared = sorted(len(prefix) for prefix in sharing.prefixes.values())
    mean = sum(map(length, rows)) / len(rows)
    tokens = f"{shared[0]}" if len(shared) == 1 else f"{shared[0]} to {shared[-1]}"
    return (
        f"Prompts share their first {tokens} tokens (rows have {mean:.0f} on average); computed "
        f"once a step, expected to be {gain:.1f} times as fast."
    )
