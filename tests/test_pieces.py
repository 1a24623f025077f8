"""How a step is cut: every row once, never more than plain batches hold, the cheapest way."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.prompts.render import Encoded, Target
from hsd.training.microbatches import (
    ANSWER_TOKENS,
    Limits,
    Sharing,
    cuts,
    expected_gain,
    find_sharing,
    length,
    pair_cost,
    plain_work,
    shared_work,
)
from hsd.training.planner_costs import CALL_TOKENS, PAIR_SLOWNESS

SMOLLM2_PAIR = 6.5e-4


def rows(prefix: int, own: list[int], how: str = "a") -> list[Encoded]:
    """Return rows of `prefix` shared tokens and these many of their own, two of them the answer."""
    return [
        Encoded(f"{how}{n}", [*range(prefix), *[1000 + n] * (tokens - 2)], [7, 8], asked=(how, ""))
        for n, tokens in enumerate(own)
    ]


def limits(made: list[Encoded], batch_size: int = 4, **more: Any) -> Limits:
    longest, answer = max(map(length, made)), max(len(row.answer) for row in made)
    return Limits(batch_size, longest, answer, SMOLLM2_PAIR, **more)


@pytest.mark.parametrize(
    ("prefix", "own", "form"),
    [
        # prefix, tokens of each row's own, how they are learned
        (330, [44] * 16, "behind"),
        (790, [44] * 16, "behind"),
        (20, [17, 20, 33], "with"),  # too short for a pass of its own
        (330, [44], "with"),  # nobody to share with
    ],
)
def test_the_form_follows_from_the_token_counts(prefix: int, own: list[int], form: str) -> None:
    made = rows(prefix, own)
    assert shared_work(list(range(prefix)), made, limits(made)).form == form


def test_a_run_that_never_learned_behind_a_prefix_does_not_begin_to() -> None:
    made = rows(330, [44] * 16)
    assert shared_work(list(range(330)), made, limits(made, behind=False)).form == "with"


@given(
    prefix=st.integers(0, 400),
    own=st.lists(st.integers(3, 200), min_size=1, max_size=40),
    batch_size=st.integers(1, 8),
    keeps_scores=st.booleans(),
)
def test_every_row_is_in_one_piece_and_none_holds_more_than_a_plain_batch(
    prefix: int, own: list[int], batch_size: int, keeps_scores: bool
) -> None:
    made = rows(prefix, own)
    room = limits(made, batch_size, keeps_scores=keeps_scores)
    work = shared_work(list(range(prefix)), made, room)
    assert sorted(row.id for piece in work.pieces for row in piece) == sorted(r.id for r in made)
    for piece in work.pieces:
        tokens = prefix + sum(length(row) - prefix for row in piece)
        assert tokens <= room.tokens
        if keeps_scores:
            own_tokens = tokens - prefix
            behind = prefix * prefix + own_tokens * tokens
            assert (behind if work.form == "behind" else tokens * tokens) <= (room.pairs or 0)


@given(own=st.lists(st.integers(3, 300), min_size=1, max_size=40), batch_size=st.integers(1, 8))
def test_plain_batches_hold_every_row_once_and_as_many_tokens_as_fit(
    own: list[int], batch_size: int
) -> None:
    made = rows(5, own)
    room = limits(made, batch_size)
    work = plain_work(made, room)
    assert sorted(row.id for piece in work.pieces for row in piece) == sorted(r.id for r in made)
    assert all(len(piece) * max(map(length, piece)) <= room.tokens for piece in work.pieces)
    assert all(len(piece) >= batch_size for piece in work.pieces[:-1])


@pytest.mark.parametrize("shared", [True, False])
def test_answers_whose_logits_are_most_of_the_memory_are_cut_too(shared: bool) -> None:
    made = [Encoded(str(n), [*range(400), n], [7] * 90) for n in range(16)]
    room = limits(made, batch_size=1)
    work = shared_work(list(range(400)), made, room) if shared else plain_work(made, room)
    assert max(len(piece) for piece in work.pieces) <= ANSWER_TOKENS // 90


@given(own=st.lists(st.integers(3, 200), min_size=3, max_size=30))
def test_a_cut_has_no_piece_that_is_a_left_over(own: list[int]) -> None:
    made = sorted(rows(0, own), key=length)
    two = cuts(made, 0)[2]
    sizes = [sum(map(length, piece)) for piece in two]
    assert max(sizes) - min(sizes) <= 2 * max(own)


def test_a_prefix_is_the_longest_that_rows_asked_alike_share() -> None:
    made = [*rows(9, [4, 5, 6], "a"), *rows(3, [4, 4], "b")]
    sharing = find_sharing(made, limits(made))
    assert sharing.prefixes == {("a", ""): list(range(9)), ("b", ""): list(range(3))}
    assert [len(work.prefix) for work in sharing.work(made)] == [9, 3]


def test_the_last_token_of_a_prompt_is_never_shared() -> None:
    same = [Encoded(str(n), [1, 2, 3], [7, 8 + n]) for n in range(2)]
    assert find_sharing(same, limits(same)).prefixes == {("", ""): [1, 2]}


def test_the_expected_gain_grows_with_the_prefix() -> None:
    gains = []
    for prefix in (0, 120, 330, 790):
        made = rows(prefix, [44] * 16)
        gains.append(expected_gain([made], find_sharing(made, limits(made))))
    assert gains == sorted(gains)
    assert gains[0] < 1.5
    assert gains[2] > 4


def test_one_row_gains_nothing() -> None:
    made = rows(330, [44])
    assert expected_gain([made], Sharing({("a", ""): list(range(330))}, limits(made))) == 1.0


def test_a_call_costs_something_however_short_it_is() -> None:
    assert Limits(1, 10, 2, 0.0).cost(1, 1) == CALL_TOKENS + 1


def test_a_pairs_cost_is_its_share_of_a_tokens_work() -> None:
    smollm2 = SimpleNamespace(
        hidden_size=576, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536
    )
    # 4 x 9 x 64 operations a pair, 2 x (q, k, v, o and three matrices of the MLP) a token
    operations = 4 * 576 / (2 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536))
    assert pair_cost(smollm2) == pytest.approx(PAIR_SLOWNESS * operations)


def test_only_the_experts_that_a_token_is_sent_to_count() -> None:
    dense = SimpleNamespace(hidden_size=64, num_attention_heads=4, intermediate_size=64)
    sparse = SimpleNamespace(**vars(dense), num_experts_per_tok=4, num_local_experts=32)
    assert pair_cost(sparse) < pair_cost(dense)


def test_layers_that_differ_in_width_are_counted_by_the_first() -> None:
    from transformers import AutoConfig

    gemma_4 = AutoConfig.for_model("gemma4_text", num_hidden_layers=6)
    alike = AutoConfig.for_model("gemma4_text", num_hidden_layers=6, global_head_dim=256)
    assert gemma_4.is_heterogeneous
    assert not alike.per_layer_attributes
    assert pair_cost(gemma_4) == pair_cost(alike)


def test_a_padded_row_takes_a_line_for_each_way_its_label_may_go() -> None:
    made = [
        replace(row, target=Target("hate", 1, ([5], [6]), ([6],))) for row in rows(20, [10] * 8)
    ]
    longest = max(map(length, made))
    pieces = plain_work(made, limits(made, batch_size=4)).pieces
    assert [len(piece) for piece in pieces] == [2, 2, 2, 2]
    assert all(2 * len(piece) * longest <= 4 * longest for piece in pieces)
    assert [len(piece) for piece in plain_work(made, limits(made, batch_size=1)).pieces] == [1] * 8
