"""P(hate) behind one shared prefix: a batch's prompts and both labels in one forward pass."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from hsd.inference.replies import Reply
from hsd.inference.score import Candidates, scored
from hsd.model.packing import Packed, Prefix, logits_of, pack
from hsd.prompts.render import Encoded


class SharedScore:
    """Scores both labels of rows that all start with `prefix`.

    After a row's prompt and the answer's opening the two labels stand beside each other as two
    branches that do not see each other: a token trie. Nothing is computed twice.
    """

    def __init__(self, model: Any, prefix: Prefix, spelled: Candidates) -> None:
        self._model, self._prefix, self._spelled = model, prefix, spelled

    def __call__(self, batch: Sequence[Encoded]) -> list[Reply]:
        """Return the likelier answer of each row with its P(hate)."""
        started = time.monotonic()
        found = self.log_probabilities(batch).tolist()
        return scored(batch, found, time.monotonic() - started)

    def log_probabilities(self, batch: Sequence[Encoded]) -> torch.Tensor:
        """Return the log-probability of each label string (rows, 2) after prompt and opening."""
        device, start = self._model.device, len(self._prefix.tokens)
        trunks = [[*row.prompt[start:], *self._spelled.opening] for row in batch]
        new = tries(trunks, self._spelled.tails, start, device)
        spoken = _spoken_of([len(trunk) for trunk in trunks], self._spelled.tails)
        places, token, label = torch.tensor(spoken, device=device).T
        keep, at = places.unique(return_inverse=True)
        with torch.inference_mode():
            logits = logits_of(self._model, new, keep, self._prefix)
            taken = logits.log_softmax(-1)[at, token]
        sums = taken.new_zeros(len(batch) * len(self._spelled.tails))
        return sums.index_add(0, label, taken).view(len(batch), -1)


def tries(
    trunks: Sequence[Sequence[int]], tails: Sequence[Sequence[int]], start: int, device: Any
) -> Packed:
    """Return each row's trunk with all tails behind it, but for each tail's last token."""
    branches = [tail[:-1] for tail in tails]
    packed = pack([[*t, *(id for tail in branches for id in tail)] for t in trunks], start, device)
    offsets = [at for tail in branches for at in range(len(tail))]
    branch = [number for number, tail in enumerate(branches) for _ in tail]
    position, number = packed.position, packed.branch
    if not branch:
        return packed
    ends = torch.tensor([len(t) + len(branch) for t in trunks]).cumsum(0).tolist()
    for trunk, end in zip(trunks, ends, strict=True):
        own = slice(end - len(branch), end)
        position[own] = torch.tensor([start + len(trunk) + at for at in offsets], device=device)
        number[own] = torch.tensor(branch, device=device)
    return packed


def _spoken_of(trunks: Sequence[int], tails: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """Return places, each with a token that its logits speak of and the label it counts for.

    A trunk's last token speaks of each tail's first; a tail's token of its next.
    """
    spoken, at = [], -1
    for row, trunk in enumerate(trunks):
        at += trunk
        end = at
        for number, tail in enumerate(tails):
            label = row * len(tails) + number
            places = [end, *range(at + 1, at + len(tail))]
            spoken += [(place, token, label) for place, token in zip(places, tail, strict=True)]
            at += len(tail) - 1
    return spoken
