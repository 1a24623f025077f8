"""Which rows an optimiser step learns on which process: the seeded order of an epoch."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch.utils.data import Dataset, Sampler

PADDING = -1
"""The index of a row with nothing to learn, which fills up the last step of an epoch."""


class RowIndices(Dataset[int]):
    """The rows' numbers: what a step learns from them is worked out when it has them all."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: int) -> int:
        return index


def as_batch(indices: Sequence[int]) -> dict[str, torch.Tensor]:
    """Return a step's rows on one process as the Trainer's loader wants them."""
    return {"row_index": torch.tensor(indices)}


def epoch_order(
    lengths: Sequence[int], rows_per_step: int, processes: int, seed: int, epoch: int
) -> list[int]:
    """Return the order of the rows in one epoch: shuffled, then dealt out within each step.

    A step learns from the very rows that a plain shuffle would give it. Within it they are sorted
    by length and dealt out in turn, so that all processes have alike to do; a share that comes
    out short is filled with padding, else a process would wait for the others. A function of seed
    and epoch alone, so a resumed run goes on in the same order.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    order: list[int] = []
    for at in range(0, len(shuffled), rows_per_step):
        step = sorted(shuffled[at : at + rows_per_step], key=lambda row: (lengths[row], row))
        share = rows_per_step // processes if processes > 1 else len(step)
        for process in range(processes):
            own = step[process::processes]
            order += own + [PADDING] * (share - len(own))
    return order


class StepSampler(Sampler[int]):
    """Gives the order of the epoch that the run is in, as `epoch()` says."""

    def __init__(
        self,
        lengths: Sequence[int],
        rows_per_step: int,
        processes: int,
        seed: int,
        epoch: Callable[[], int],
    ) -> None:
        self._order = (lengths, rows_per_step, processes, seed)
        self._epoch = epoch

    def __len__(self) -> int:
        lengths, rows_per_step, processes, _ = self._order
        return len(lengths) + (-len(lengths) % rows_per_step if processes > 1 else 0)

    def __iter__(self) -> Iterator[int]:
        yield from epoch_order(*self._order, self._epoch())
