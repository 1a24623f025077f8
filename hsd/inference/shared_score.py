"""P(hate) behind one shared prefix: a batch's prompts and both labels in one forward pass."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from hsd.inference.replies import Reply
from hsd.inference.score import Candidates, scored
from hsd.model.forks import Forked, pack_forked, spoken
from hsd.model.packing import Prefix, logits_of
from hsd.prompts.render import Encoded


class SharedScore:
    """Scores both labels of rows that all start with `prefix`.

    After a row's prompt and the answer's opening the two labels stand beside each other as two
    branches that do not see each other. Nothing is computed twice.
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
        opening, tails = self._spelled.opening, self._spelled.tails
        rows = [Forked([*row.prompt[start:], *opening], tails) for row in batch]
        places, tokens = torch.tensor(spoken(rows), device=device).T
        keep, at = places.unique(return_inverse=True)
        with torch.inference_mode():
            logits = logits_of(self._model, pack_forked(rows, start, device), keep, self._prefix)
            taken = logits.log_softmax(-1)[at, tokens]
        ways = taken.view(len(rows), -1).split([len(tail) for tail in tails], 1)
        return torch.stack([way.sum(1) for way in ways], 1)
