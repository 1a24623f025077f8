"""Rows into batches: the seeded order, and left-padded tensors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset, Sampler

from hsd.prompts.render import Encoded

IGNORED = -100
"""The label of a position that is not learned."""

PADDING = -1
"""The index of a row with nothing to learn, which fills up the last batches of an epoch."""


class Rows(Dataset[tuple[int, Encoded]]):
    """Encoded rows with their index, so that a batch can be named when it goes wrong."""

    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, Encoded]:
        return index, Encoded("", [0], []) if index == PADDING else self.rows[index]


def epoch_order(lengths: Sequence[int], rows_per_step: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the rows in one epoch: shuffled, then sorted by length inside each step.

    A step learns from the very rows that a plain shuffle would give it; sorting inside only
    keeps the padding of its batches small. A function of seed and epoch alone, so a resumed run
    goes on in the same order.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    steps = (shuffled[at : at + rows_per_step] for at in range(0, len(shuffled), rows_per_step))
    return [row for step in steps for row in sorted(step, key=lambda i: (lengths[i], i))]


class StepSampler(Sampler[int]):
    """Gives the order of the epoch that the run is in, as `epoch()` says.

    Every process needs as many batches as the others, so the order ends with padding up to
    `multiple_of` rows. accelerate would fill up with rows of the epoch's start: learned twice.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        rows_per_step: int,
        seed: int,
        multiple_of: int,
        epoch: Callable[[], int],
    ) -> None:
        self._lengths, self._rows_per_step = lengths, rows_per_step
        self._seed, self._epoch = seed, epoch
        self._padding = -len(lengths) % multiple_of

    def __len__(self) -> int:
        return len(self._lengths) + self._padding

    def __iter__(self) -> Iterator[int]:
        yield from epoch_order(self._lengths, self._rows_per_step, self._seed, self._epoch())
        yield from [PADDING] * self._padding


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads rows on the left, so that all answers end in the last column.

    Then one number, the longest answer, says which columns need logits, for any architecture.
    Labels are made from where the answer stands, never from the pad id: in some vocabularies pad
    is the stop token, which is learned.
    """

    pad_id: int

    def __call__(self, batch: Sequence[tuple[int, Encoded]]) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask, position_ids, labels (rows, tokens) and row indices."""
        width = max(len(row.prompt) + len(row.answer) for _, row in batch)
        shape = (len(batch), width)
        ids = torch.full(shape, self.pad_id)
        mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED)
        for at, (_, row) in enumerate(batch):
            tokens = torch.tensor(row.prompt + row.answer)
            ids[at, width - len(tokens) :] = tokens
            mask[at, width - len(tokens) :] = 1
            if row.answer:
                labels[at, width - len(row.answer) :] = torch.tensor(row.answer)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "labels": labels,
            "row_index": torch.tensor([index for index, _ in batch]),
        }
