"""Replies behind one shared prefix: rows packed in one sequence, each leaving when it is done."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hsd.inference.halving import in_batches
from hsd.inference.replies import Asking, Closing, Reply, read_tokens, row_seed
from hsd.inference.row_cache import RowCache
from hsd.model.packing import TRUNK, Packed, Prefix, answer_places, logits_of, pack
from hsd.prompts.render import Encoded

Choose = Callable[[torch.Tensor, Sequence[int]], list[int]]
"""From logits (rows, vocab) and the rows' numbers to each row's next token."""


class SharedGenerate:
    """Writes replies to rows that all start with `prefix`."""

    def __init__(
        self, model: Any, tokenizer: Any, prefix: Prefix, stop_ids: Sequence[int], asking: Asking
    ) -> None:
        self._model, self._tokenizer, self.prefix = model, tokenizer, prefix
        self._stop_ids, self.asking = frozenset(stop_ids), asking
        self._closes = Closing(tokenizer)

    def __call__(self, batch: Sequence[Encoded]) -> list[Reply]:
        """Return the replies to rows that are asked at once."""
        started = time.monotonic()
        limit, stops = self.asking.max_new_tokens, list(self._stop_ids)
        texts = [read_tokens(self._tokenizer, new, stops, limit) for new in self.write(batch)]
        share = (time.monotonic() - started) / len(batch)
        return [
            Reply(row.id, text, cut, share) for row, (text, cut) in zip(batch, texts, strict=True)
        ]

    def write(self, batch: Sequence[Encoded]) -> list[list[int]]:
        """Return the ids of each row's reply, up to and with the one that ended it."""
        start = len(self.prefix.tokens)
        choose = _sampling(self.asking, batch, self._model.device)
        written: list[list[int]] = [[] for _ in batch]
        with torch.inference_mode():
            cache = RowCache(self._model, self.prefix)
            new = pack([row.prompt[start:] for row in batch], start, self._model.device)
            ends = torch.tensor([len(row.prompt) - start for row in batch]).cumsum(0) - 1
            logits = cache.read(new, ends.to(self._model.device))
            asked = list(range(len(batch)))
            while True:
                for number, token in zip(asked, choose(logits, asked), strict=True):
                    written[number].append(token)
                left = [number for number in asked if not self._ends(written[number])]
                if not left:
                    return written
                if len(left) < len(asked):
                    cache.keep_rows(left)
                asked = left
                new = _newest(batch, written, asked, self._model.device)
                logits = cache.read(new, torch.arange(len(asked), device=self._model.device))

    def _ends(self, new: Sequence[int]) -> bool:
        full = len(new) >= self.asking.max_new_tokens
        return full or new[-1] in self._stop_ids or self._closes(new)


def reply_log_probabilities(
    model: Any,
    prefix: Prefix,
    rows: Sequence[Encoded],
    replies: Sequence[Sequence[int]],
    batch_size: int,
) -> list[torch.Tensor]:
    """Return, for each row, the log-probability of each token of a given reply."""

    def of_batch(batch: Sequence[tuple[list[int], Sequence[int]]]) -> list[torch.Tensor]:
        whole = [[*own, *reply] for own, reply in batch]
        lengths = [len(reply) for _, reply in batch]
        keep = torch.tensor(answer_places([len(ids) for ids in whole], lengths))
        taken = [token for _, reply in batch for token in reply]
        with torch.inference_mode():
            packed = pack(whole, start, model.device)
            found = logits_of(model, packed, keep.to(model.device), prefix).log_softmax(-1)
        return list(found[range(len(taken)), taken].split(lengths))

    start = len(prefix.tokens)
    pairs = [(row.prompt[start:], reply) for row, reply in zip(rows, replies, strict=True)]
    return [one for found in in_batches(pairs, batch_size, of_batch) for one in found]


def _newest(
    batch: Sequence[Encoded], written: Sequence[Sequence[int]], asked: Sequence[int], device: Any
) -> Packed:
    """Return the last token that each of the rows `asked` wrote, at its place."""
    columns = [
        (written[n][-1], len(batch[n].prompt) + len(written[n]) - 1, n, TRUNK) for n in asked
    ]
    return Packed(*torch.tensor(columns, device=device).T)


def _sampling(asking: Asking, batch: Sequence[Encoded], device: Any) -> Choose:
    """Return how the next tokens are chosen: the likeliest, or drawn by each row's own dice."""
    if asking.temperature == 0:
        return lambda logits, _: list(logits.argmax(-1).tolist())
    dice = [torch.Generator(device).manual_seed(row_seed(asking.seed, row.id)) for row in batch]

    def draw(logits: torch.Tensor, asked: Sequence[int]) -> list[int]:
        chances = (logits / asking.temperature).softmax(-1)
        return [
            int(torch.multinomial(row, 1, generator=dice[number]))
            for row, number in zip(chances, asked, strict=True)
        ]

    return draw
