"""Rows become steps: the order of an epoch, and who learns which row."""

import pytest
import torch

from hsd.training.batches import PADDING, StepSampler, epoch_order

pytestmark = pytest.mark.model

LENGTHS = [5, 9, 2, 7, 7, 3, 8, 1, 6, 4, 2]


def steps_of(order: list[int], size: int) -> list[list[int]]:
    return [order[at : at + size] for at in range(0, len(order), size)]


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    orders = [epoch_order(LENGTHS, 4, 1, seed=3, epoch=epoch) for epoch in range(4)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = epoch_order(LENGTHS, 4, 1, seed=3, epoch=2)
    torch.manual_seed(2)
    torch.rand(7)
    assert epoch_order(LENGTHS, 4, 1, seed=3, epoch=2) == first
    assert epoch_order(LENGTHS, 4, 1, seed=4, epoch=2) != first


def test_making_an_order_draws_no_number_of_the_run() -> None:
    before = torch.random.get_rng_state()
    epoch_order(LENGTHS, 4, 1, seed=3, epoch=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("rows_per_step", [1, 4, 11, 100])
def test_each_step_holds_the_rows_of_a_plain_seeded_shuffle(rows_per_step: int) -> None:
    plain = epoch_order([0] * 11, 1, 1, seed=3, epoch=1)  # steps of one row: nothing to sort
    ours = epoch_order(LENGTHS, rows_per_step, 1, seed=3, epoch=1)
    for step, shuffled in zip(
        steps_of(ours, rows_per_step), steps_of(plain, rows_per_step), strict=True
    ):
        assert sorted(step) == sorted(shuffled)
        assert [LENGTHS[row] for row in step] == sorted(LENGTHS[row] for row in shuffled)


def test_the_sampler_follows_the_epoch_of_the_run() -> None:
    epoch = 0
    sampler = StepSampler(LENGTHS, 4, 1, seed=3, epoch=lambda: epoch)
    first = list(sampler)
    assert first == epoch_order(LENGTHS, 4, 1, 3, 0)
    epoch = 1
    assert list(sampler) == epoch_order(LENGTHS, 4, 1, 3, 1) != first


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_a_step_is_dealt_out_so_that_processes_have_alike_to_do(processes: int) -> None:
    order = epoch_order(LENGTHS, 4 * processes, processes, seed=3, epoch=0)
    first = steps_of(steps_of(order, 4 * processes)[0], 4)
    if processes == 2:
        tokens = [sum(LENGTHS[row] for row in share if row != PADDING) for share in first]
        assert max(tokens) - min(tokens) <= max(LENGTHS)
    assert sorted(row for row in order if row != PADDING) == list(range(11))
    assert {len(share) for share in steps_of(order, 4)} == {4}


@pytest.mark.parametrize(("processes", "fillers"), [(1, 0), (2, 5), (4, 5)])
def test_uneven_rows_are_filled_up_with_padding_not_with_rows_learned_twice(
    processes: int, fillers: int
) -> None:
    sampler = StepSampler(LENGTHS, 8, processes, seed=3, epoch=lambda: 0)
    order = list(sampler)
    assert len(order) == len(sampler) == 11 + fillers
    assert sorted(order) == [PADDING] * fillers + list(range(11))
