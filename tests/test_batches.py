"""Rows become batches: the order of an epoch, and what is learned of a padded batch."""

import pytest
import torch

from hsd.prompts.render import Encoded
from hsd.training.batches import IGNORED, PADDING, Collator, Rows, StepSampler, epoch_order

pytestmark = pytest.mark.model

LENGTHS = [5, 9, 2, 7, 7, 3, 8, 1, 6, 4, 2]


def steps_of(order: list[int], size: int) -> list[list[int]]:
    return [order[at : at + size] for at in range(0, len(order), size)]


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    orders = [epoch_order(LENGTHS, 4, seed=3, epoch=epoch) for epoch in range(4)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = epoch_order(LENGTHS, 4, seed=3, epoch=2)
    torch.manual_seed(2)
    torch.rand(7)
    assert epoch_order(LENGTHS, 4, seed=3, epoch=2) == first
    assert epoch_order(LENGTHS, 4, seed=4, epoch=2) != first


def test_making_an_order_draws_no_number_of_the_run() -> None:
    before = torch.random.get_rng_state()
    epoch_order(LENGTHS, 4, seed=3, epoch=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("rows_per_step", [1, 4, 11, 100])
def test_each_step_holds_the_rows_of_a_plain_seeded_shuffle(rows_per_step: int) -> None:
    plain = epoch_order([0] * 11, 1, seed=3, epoch=1)  # steps of one row: nothing to sort
    ours = epoch_order(LENGTHS, rows_per_step, seed=3, epoch=1)
    for step, shuffled in zip(
        steps_of(ours, rows_per_step), steps_of(plain, rows_per_step), strict=True
    ):
        assert sorted(step) == sorted(shuffled)
        assert [LENGTHS[row] for row in step] == sorted(LENGTHS[row] for row in shuffled)


def test_the_sampler_follows_the_epoch_of_the_run() -> None:
    epoch = 0
    sampler = StepSampler(LENGTHS, 4, seed=3, multiple_of=1, epoch=lambda: epoch)
    first = list(sampler)
    assert first == epoch_order(LENGTHS, 4, 3, 0)
    epoch = 1
    assert list(sampler) == epoch_order(LENGTHS, 4, 3, 1) != first


@pytest.mark.parametrize(("multiple_of", "fillers"), [(1, 0), (4, 1), (6, 1), (8, 5), (11, 0)])
def test_uneven_rows_are_filled_up_with_padding_not_with_rows_learned_twice(
    multiple_of: int, fillers: int
) -> None:
    sampler = StepSampler(LENGTHS, 4, seed=3, multiple_of=multiple_of, epoch=lambda: 0)
    order = list(sampler)
    assert len(order) == len(sampler) == 11 + fillers
    assert sorted(order) == [PADDING] * fillers + list(range(11))


PAD, STOP = 0, 2
SHORT = Encoded("short", [5, 6], [7, STOP])
LONG = Encoded("long", [8, 9, 10, 11], [12, 13, STOP])


def test_labels_are_the_answer_and_its_stop_token_only() -> None:
    batch = Collator(PAD)([(0, SHORT), (1, LONG)])
    no = IGNORED
    assert batch["input_ids"].tolist() == [[0, 0, 0, 5, 6, 7, STOP], [8, 9, 10, 11, 12, 13, STOP]]
    assert batch["labels"].tolist() == [[no] * 5 + [7, STOP], [no] * 4 + [12, 13, STOP]]
    assert batch["attention_mask"].tolist() == [[0, 0, 0, 1, 1, 1, 1], [1] * 7]
    assert batch["position_ids"].tolist() == [[0, 0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6]]
    assert batch["row_index"].tolist() == [0, 1]


def test_a_pad_token_that_is_the_stop_token_is_learned_and_seen_where_it_is_a_word() -> None:
    row = Encoded("stops", [5, STOP, 6], [7, STOP])
    batch = Collator(STOP)([(0, row), (1, LONG)])
    assert batch["labels"][0].tolist() == [IGNORED] * 5 + [7, STOP]
    assert batch["attention_mask"][0].tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_a_padding_row_has_nothing_to_learn() -> None:
    rows = Rows([SHORT])
    batch = Collator(PAD)([rows[0], rows[PADDING]])
    assert batch["labels"][1].tolist() == [IGNORED] * 4
    assert batch["attention_mask"][1].sum() == 1  # a row without any token would give NaN
    assert batch["row_index"].tolist() == [0, PADDING]
