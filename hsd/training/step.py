"""The gradient of one optimiser step: pieces of rows, each one forward and backward.

With a shared prefix its keys and values are computed once, in the graph. The pieces run on
detached copies, which collect their gradients, and one backward goes through the prefix at the
end: only one piece's activations are ever held beside the prefix's. With activation checkpointing
that is what goes into the prefix's layers, and each of them is computed once more, at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from hsd.model.forks import Forked, pack_forked, spoken
from hsd.model.packing import (
    Prefix,
    at_least_float32,
    compute_prefix,
    joined_rows,
    logits_of,
    pack_prefix,
)
from hsd.model.padding import left_padded, positions
from hsd.prompts.render import Encoded
from hsd.training.microbatches import StepPlan
from hsd.training.objective import LossCounts, Objective


@dataclass(frozen=True, slots=True)
class Learner:
    """One process's model and how a forward and a backward are done with it.

    `context` is what forwards run in (autocast). `weigh` gets a piece's loss and its rows, and
    returns the loss that goes backward.
    """

    model: Any
    pad_id: int
    objective: Objective
    context: Callable[[], AbstractContextManager[Any]]
    backward: Callable[[torch.Tensor], None]
    weigh: Callable[[torch.Tensor, Sequence[Encoded]], torch.Tensor]

    def learn(self, works: Sequence[StepPlan], whole: LossCounts) -> torch.Tensor:
        """Add the gradient of the rows' part in the loss of the whole step, and return that."""
        total = torch.zeros((), device=self.model.device)
        for work in works:
            total += self._learn_work(work, whole)
        return total

    # Functions of their own, so that nothing of a work or a piece is held while the next runs.

    def _learn_work(self, work: StepPlan, whole: LossCounts) -> torch.Tensor:
        with self.context():
            prefix = _prefix(self.model, work)
        leaves = prefix.detached() if prefix else None
        losses = [self._learn_piece(work, rows, leaves, whole) for rows in work.pieces]
        if prefix and leaves:
            back_through(prefix, leaves)
        return torch.stack(losses).sum()

    def _learn_piece(
        self, work: StepPlan, rows: Sequence[Encoded], leaves: Prefix | None, whole: LossCounts
    ) -> torch.Tensor:
        with self.context():
            said = step_log_probabilities(self.model, work, rows, leaves, self.pad_id)
        loss = self.weigh(self.objective.loss(said, rows, whole), rows)
        self.backward(loss)
        return loss.detach()


def back_through(whole: Prefix, leaves: Prefix) -> None:
    """Hand the gradients that the leaves collected on to what the prefix was computed from."""
    pairs = [
        (computed, leaf.grad)
        for layer, leaf_layer in zip(whole.layers, leaves.layers, strict=True)
        for computed, leaf in zip(layer, leaf_layer, strict=True)
        if leaf.grad is not None
    ]
    if pairs:
        torch.autograd.backward([p[0] for p in pairs], [p[1] for p in pairs])


def piece_log_probabilities(
    model: Any, works: Sequence[StepPlan], pad_id: int
) -> Iterator[tuple[list[Encoded], torch.Tensor]]:
    """Yield each piece's rows and what `log_probabilities` returns for them, without gradients."""
    for work in works:
        with torch.inference_mode():
            prefix = _prefix(model, work)
        for rows in work.pieces:
            with torch.inference_mode():
                said = step_log_probabilities(model, work, rows, prefix, pad_id)
            yield rows, said


def step_log_probabilities(
    model: Any, work: StepPlan, rows: Sequence[Encoded], prefix: Prefix | None, pad_id: int
) -> torch.Tensor:
    """Return the log-probabilities of what the rows say, (spoken tokens of all rows,).

    Row by row: the answer, then the rivals of its label. The head runs on nothing else: with a
    vocabulary of 201,088 the logits of the prompts would be most of the memory.
    """
    if work.form == "alone":
        return _padded(model, [forked(row, 0) for row in rows], pad_id)
    start = len(work.prefix)
    ways = [forked(row, start) for row in rows]
    packed = pack_forked(ways, start, model.device)
    places, tokens = torch.tensor(spoken(ways), device=model.device).T
    if prefix is None and start:
        packed = joined_rows([pack_prefix(work.prefix, model.device), packed])
        places = start + places
    # The token before a fork speaks of every branch, and its logits are wanted once.
    keep, at = places.unique(return_inverse=True)
    return logits_of(model, packed, keep, prefix).log_softmax(-1)[at, tokens]


def forked(row: Encoded, start: int) -> Forked:
    """Return a row without its first `start` tokens as the ways its answer may go on."""
    said = row.target.opening if row.target else 0
    trunk = [*row.prompt[start:], *row.answer[:said]]
    return Forked(trunk, [row.answer[said:], *row.rivals], said)


def _padded(model: Any, rows: Sequence[Forked], pad_id: int) -> torch.Tensor:
    """Return the same from lines padded to one length, each way a line, for any architecture.

    Padding is on the left: answers end in the last column, so one number says which columns
    need logits.
    """
    lines = [line for row in rows for line in row.lines()]
    ids, mask = left_padded([line for line, _ in lines], pad_id, model.device)
    longest = max(count for _, count in lines)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask),
        logits_to_keep=longest + 1,
        use_cache=False,
    )
    counts = [count for _, count in lines]
    logits = torch.cat(
        [own[longest - count : -1] for count, own in zip(counts, out.logits, strict=True)]
    )
    tokens = torch.tensor(
        [token for line, count in lines for token in line[len(line) - count :]],
        dtype=torch.long,
        device=model.device,
    )
    return at_least_float32(logits).log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def _prefix(model: Any, work: StepPlan) -> Prefix | None:
    return compute_prefix(model, work.prefix) if work.form == "behind" else None
