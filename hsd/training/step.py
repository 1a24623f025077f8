"""The gradient of one optimiser step: pieces of rows, each one forward and backward.

With a shared prefix its keys and values are computed once, in the graph. The pieces run on
detached copies, which collect their gradients, and one backward goes through the prefix at the
end: only one piece's activations are ever held beside the prefix's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from hsd.model.packing import (
    Prefix,
    answer_places,
    at_least_float32,
    compute_prefix,
    joined,
    logits_of,
    pack,
    pack_prefix,
)
from hsd.model.padding import left_padded, positions
from hsd.prompts.render import Encoded
from hsd.training.pieces import Work, length


@dataclass(frozen=True, slots=True)
class Learner:
    """One process's model and how a forward and a backward are done with it.

    `context` is what forwards run in (autocast). `weigh` gets a piece's loss and its rows, and
    returns the loss that goes backward.
    """

    model: Any
    pad_id: int
    context: Callable[[], AbstractContextManager[Any]]
    backward: Callable[[torch.Tensor], None]
    weigh: Callable[[torch.Tensor, Sequence[Encoded]], torch.Tensor]

    def learn(self, works: Sequence[Work], tokens: int) -> torch.Tensor:
        """Add the gradient of the rows' token losses over `tokens`, and return that loss."""
        total = torch.zeros((), device=self.model.device)
        for work in works:
            total += self._learn_work(work, tokens)
        return total

    # Functions of their own, so that nothing of a work or a piece is held while the next runs.

    def _learn_work(self, work: Work, tokens: int) -> torch.Tensor:
        with self.context():
            whole = _prefix(self.model, work)
        leaves = whole.detached() if whole else None
        losses = [self._learn_piece(work, rows, leaves, tokens) for rows in work.pieces]
        if whole and leaves:
            back_through(whole, leaves)
        return torch.stack(losses).sum()

    def _learn_piece(
        self, work: Work, rows: Sequence[Encoded], leaves: Prefix | None, tokens: int
    ) -> torch.Tensor:
        with self.context():
            logits = answer_logits(self.model, work, rows, leaves, self.pad_id)
        loss = cross_entropy(logits, targets(rows, logits.device), reduction="sum") / tokens
        loss = self.weigh(loss, rows)
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


def piece_logits(
    model: Any, works: Sequence[Work], pad_id: int
) -> Iterator[tuple[list[Encoded], torch.Tensor]]:
    """Yield each piece's rows and logits, without gradients."""
    for work in works:
        with torch.inference_mode():
            prefix = _prefix(model, work)
        for rows in work.pieces:
            with torch.inference_mode():
                logits = answer_logits(model, work, rows, prefix, pad_id)
            yield rows, logits


def answer_logits(
    model: Any, work: Work, rows: Sequence[Encoded], prefix: Prefix | None, pad_id: int
) -> torch.Tensor:
    """Return logits (answer tokens of all rows, vocab): the head runs on nothing else.

    With a vocabulary of 201,088 the logits of the prompts would be most of the memory.
    """
    if work.form == "alone":
        return padded_logits(model, rows, pad_id)
    start = len(work.prefix)
    packed = pack([(row.prompt + row.answer)[start:] for row in rows], start, model.device)
    places = answer_places([length(row) - start for row in rows], [len(row.answer) for row in rows])
    if prefix is None and start:
        packed = joined([pack_prefix(work.prefix, model.device), packed])
        places = [start + place for place in places]
    return logits_of(model, packed, torch.tensor(places, device=model.device), prefix)


def padded_logits(model: Any, rows: Sequence[Encoded], pad_id: int) -> torch.Tensor:
    """Return the same logits from rows padded to one length, for any architecture.

    Padding is on the left: answers end in the last column, so one number says which columns
    need logits.
    """
    ids, mask = left_padded([row.prompt + row.answer for row in rows], pad_id, model.device)
    longest = max(len(row.answer) for row in rows)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask),
        logits_to_keep=longest + 1,
        use_cache=False,
    )
    logits = torch.cat(
        [
            row_logits[longest - len(r.answer) : -1]
            for r, row_logits in zip(rows, out.logits, strict=True)
        ]
    )
    return at_least_float32(logits)


def targets(rows: Sequence[Encoded], device: Any) -> torch.Tensor:
    """Return the ids that the logits speak of, (answer tokens of all rows,)."""
    return torch.tensor([token for row in rows for token in row.answer], device=device)


def _prefix(model: Any, work: Work) -> Prefix | None:
    return compute_prefix(model, work.prefix) if work.form == "behind" else None
