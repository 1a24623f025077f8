"""Batches that do not fit are halved, and nothing is lost or answered twice."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsd.inference.halving import Halving, answers, batches_of

pytestmark = pytest.mark.model


class Small:
    """A device on which `room` rows fit at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.asked.append(len(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError
        return list(batch)


def answered(rows: int, batch_size: int, room: int) -> tuple[list[list[int]], list[Halving]]:
    halvings: list[Halving] = []
    batches = batches_of(range(rows), batch_size)
    return list(answers(batches, Small(room), halvings.append)), halvings


def test_batches_are_halved_until_they_fit_and_stay_so() -> None:
    batches, halvings = answered(rows=12, batch_size=8, room=3)
    assert [len(batch) for batch in batches] == [2] * 6
    assert halvings == [Halving(8, 4, rows_done=0), Halving(4, 2, rows_done=0)]


def test_memory_may_run_out_later() -> None:
    class Filling(Small):
        def __call__(self, batch: Sequence[int]) -> list[int]:
            self.room = 1 if 8 in batch else self.room
            return super().__call__(batch)

    halvings: list[Halving] = []
    batches = list(answers(batches_of(range(12), 4), Filling(4), halvings.append))
    assert [len(batch) for batch in batches] == [4, 4, 1, 1, 1, 1]
    assert halvings == [Halving(4, 2, rows_done=8), Halving(2, 1, rows_done=8)]


def test_a_batch_that_is_not_full_is_halved_too() -> None:
    batches, halvings = answered(rows=5, batch_size=64, room=2)
    assert [len(batch) for batch in batches] == [2, 1, 2]
    assert halvings == [Halving(5, 3, rows_done=0), Halving(3, 2, rows_done=0)]


def test_halves_are_cut_within_each_batch_wherever_memory_ran_out() -> None:
    """Which rows are answered together is one of a few things, whatever happened before."""
    early, _ = answered(rows=14, batch_size=6, room=3)
    assert early == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13]]

    class Later(Small):
        def __call__(self, batch: Sequence[int]) -> list[int]:
            self.room = 3 if 6 in batch else self.room
            return super().__call__(batch)

    later = list(answers(batches_of(range(14), 6), Later(6)))
    assert later == [[*range(6)], *early[2:]]


def test_a_batch_holds_no_more_tokens_than_there_is_room_for_but_one_row_always_goes() -> None:
    lengths = [900, 30, 20, 10, 10, 10]
    batches = batches_of(lengths, 4, tokens=int, room=60)
    assert batches == [[900], [30, 20, 10], [10, 10]]


def test_one_row_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        answered(rows=5, batch_size=4, room=0)


@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 40))
def test_every_row_is_answered_once_and_in_order(rows: int, batch_size: int, room: int) -> None:
    batches, halvings = answered(rows, batch_size, room)
    assert [row for batch in batches for row in batch] == list(range(rows))
    assert all(len(batch) <= min(batch_size, room) for batch in batches)
    assert bool(halvings) == (min(rows, batch_size) > room)
