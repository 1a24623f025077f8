"""Rows in batches that are cut in halves when memory runs out."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def batches_of(
    rows: Sequence[Row],
    batch_size: int,
    tokens: Callable[[Row], int] = lambda _: 0,
    room: int = 0,
) -> list[Sequence[Row]]:
    """Return rows in batches, in order.

    A batch has at most `batch_size` rows, and at most `room` tokens where it has several.
    """
    batches, done = [], 0
    while done < len(rows):
        batch = rows[done : done + _count(rows[done : done + batch_size], tokens, room)]
        batches.append(batch)
        done += len(batch)
    return batches


def answers(
    batches: Iterable[Sequence[Row]],
    answer: Callable[[Sequence[Row]], Answer],
    halved: Callable[[Halving], None] = lambda _: None,
) -> Iterator[Answer]:
    """Yield what `answer` gives for each batch, in order.

    Where memory runs out, a batch is cut in two halves, and so is each later one that has more
    rows than those: which rows are answered together depends on their batch alone, and on how
    often it was halved. Raises what says that memory is full (see hsd.model.memory) when one row is
    too much.
    """
    done, most = 0, None
    for whole in batches:
        left = [whole]
        while left:
            batch = left.pop(0)
            if most is not None and len(batch) > most:
                left[:0] = _halves(batch)
                continue
            found = _answer(batch, answer)
            if found is None:
                left.insert(0, batch)
                most = (len(batch) + 1) // 2
                log.warning("memory is full with %d rows at once; on with %d", len(batch), most)
                halved(Halving(len(batch), most, done))
                continue
            done += len(batch)
            yield found[0]


def in_batches(
    rows: Sequence[Row], batch_size: int, answer: Callable[[Sequence[Row]], Answer]
) -> Iterator[Answer]:
    """Yield what `answer` gives for each batch of rows, in order; halved as in `answers`."""
    return answers(batches_of(rows, batch_size), answer)


def _halves(batch: Sequence[Row]) -> list[Sequence[Row]]:
    """Return two halves; the first has the odd row, so that memory runs out early or never."""
    middle = (len(batch) + 1) // 2
    return [batch[:middle], batch[middle:]]


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
