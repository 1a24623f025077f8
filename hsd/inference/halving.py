"""Rows in batches that become smaller when memory runs out."""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import torch

from hsd.model.memory import is_memory_error

log = logging.getLogger(__name__)

Row = TypeVar("Row")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Halving:
    """Memory ran out on a batch of `rows_before` rows, when `rows_done` had been answered."""

    rows_before: int
    rows_after: int
    rows_done: int


def in_batches(
    rows: Sequence[Row],
    batch_size: int,
    answer: Callable[[Sequence[Row]], Answer],
    halved: Callable[[Halving], None] = lambda _: None,
    tokens: Callable[[Row], int] = lambda _: 0,
    room: int = 0,
) -> Iterator[Answer]:
    """Yield what `answer` gives for each batch of rows, in order.

    A batch has at most `batch_size` rows, and at most `room` tokens where it has several. Where
    memory runs out, batches have half as many rows from there on. Raises what says so (see
    hsd.model.memory) when one row is too much.
    """
    done = 0
    while done < len(rows):
        batch = rows[done : done + _count(rows[done : done + batch_size], tokens, room)]
        found = _answer(batch, answer)
        if found is None:
            batch_size = len(batch) // 2
            log.warning("memory is full with %d rows at once; on with %d", len(batch), batch_size)
            halved(Halving(len(batch), batch_size, done))
            continue
        done += len(batch)
        yield found[0]


def _count(rows: Sequence[Row], tokens: Callable[[Row], int], room: int) -> int:
    """Return how many of the first rows fit; one always does."""
    sums = accumulate(map(tokens, rows))
    return max(1, sum(total <= room for total in sums))


def _answer(
    batch: Sequence[Row], answer: Callable[[Sequence[Row]], Answer]
) -> tuple[Answer] | None:
    """Return the answer, None when memory ran out on several rows, with all of it given back."""
    try:
        return (answer(batch),)
    except (RuntimeError, MemoryError) as error:
        if len(batch) == 1 or not is_memory_error(error):
            raise
    # Only here, where the error no longer holds the frames that hold the tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
