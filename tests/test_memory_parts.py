"""The memory of a training, by sizes alone: what must hold whatever the numbers are."""

from dataclasses import replace

import pytest

from hsd.errors import ConfigError
from hsd.model.base_shape import BaseShape, LinearShape
from hsd.model.memory_parts import (
    AdapterShape,
    Held,
    Piece,
    activations_bytes,
    base_bytes,
    checkpoints_gb,
    kv_bytes,
    loading_bytes,
    logits_bytes,
)
from hsd.training.memory_need import Computed, evaluation_need, training_need
from hsd.training.planned_devices import PlannedDevices, gpus_of
from hsd.training.time_range import time_range

QUERY, VALUE = LinearShape("q_proj", 2880, 4096, 24), LinearShape("v_proj", 2880, 512, 24)
SHORT, LONG = Piece(500, 500, 20), Piece(1000, 1000, 20)


def gpt_oss(layers: int, experts: int) -> BaseShape:
    """The released sizes: 2,880 wide, 201,088 words, 4 experts a token."""
    fused = layers * experts * (2880 * 5760 + 2880 * 2880)
    biases = layers * experts * (5760 + 2880)
    attention = layers * (2880 * (4096 + 2 * 512) + 4096 * 2880 + 4096 + 2 * 512 + 2880 + 64)
    others = layers * (experts * 2881 + 2 * 2880) + 2880 + 2 * 201_088 * 2880
    return BaseShape(
        family="gpt_oss",
        hidden=2880,
        layers=layers,
        heads=64,
        key_heads=8,
        head_width=64,
        inner=2880,
        vocabulary=201_088,
        parameters=fused + biases + attention + others,
        linear_parameters=layers * 2880 * (4096 + 2 * 512 + 4096),
        fused_parameters=fused,
        largest=max(2 * experts * 2880, 201_088) * 2880,
        experts=experts,
        experts_per_token=4,
        eager=True,
        linear=(QUERY, VALUE),
    )


DENSE = BaseShape(
    family="llama",
    hidden=512,
    layers=8,
    heads=8,
    key_heads=2,
    head_width=64,
    inner=1536,
    vocabulary=32_000,
    parameters=60_000_000,
    linear_parameters=27_000_000,
    largest=32_000 * 512,
    linear=(LinearShape("q_proj", 512, 512, 8), LinearShape("v_proj", 512, 128, 8)),
)
ADAPTER = AdapterShape(16, DENSE.linear, 0.0)
FULL, HALF = Held("none", 4), Held("none", 2)


def kept(shape: BaseShape, piece: Piece, held: Held = HALF, recomputes: bool = False) -> float:
    return activations_bytes(shape, ADAPTER, held, piece, True, recomputes)


@pytest.mark.parametrize(("layers", "experts", "gb"), [(24, 32, 13.8), (36, 128, 65.2)])
def test_packed_gpt_oss_takes_what_its_release_does(layers: int, experts: int, gb: float) -> None:
    shape = gpt_oss(layers, experts)
    assert base_bytes(shape, Held("packed")) / 1e9 == pytest.approx(gb, rel=0.01)


def test_unpacked_gpt_oss_20b_takes_42_gb() -> None:
    assert base_bytes(gpt_oss(24, 32), Held("dequantized")) / 1e9 == pytest.approx(41.8, rel=0.01)


def test_nf4_packs_linear_layers_alone() -> None:
    in_4bit = base_bytes(DENSE, Held("nf4", 2, double=True))
    assert in_4bit == pytest.approx(33e6 * 2 + 27e6 * (0.5 + 1.1 / 64))
    assert base_bytes(DENSE, Held("nf4", 2, double=False)) > in_4bit


def test_an_adapter_has_a_pair_of_matrices_for_each_target() -> None:
    shape = gpt_oss(24, 32)
    assert shape.adapter_parameters(32, ["q_proj", "v_proj"]) == 7_962_624
    assert shape.adapter_parameters(32, "all-linear") == 7_962_624
    assert shape.adapter_parameters(32, ["v_proj"]) == 32 * (2880 + 512) * 24


def test_a_token_meets_only_the_experts_that_it_is_sent_to() -> None:
    shape = gpt_oss(24, 32)
    assert shape.active_parameters == shape.linear_parameters + shape.fused_parameters / 8
    assert DENSE.active_parameters == DENSE.linear_parameters


def test_a_longer_piece_keeps_more() -> None:
    assert kept(DENSE, LONG) > 2 * kept(DENSE, SHORT)  # the mask grows with the square


def test_recomputing_keeps_less() -> None:
    assert kept(DENSE, SHORT, recomputes=True) < kept(DENSE, SHORT) / 3


def test_a_prefix_in_the_graph_is_kept_beside_the_piece() -> None:
    assert kept(DENSE, replace(SHORT, prefix=300)) > kept(DENSE, SHORT)


def test_of_a_recomputed_prefix_what_goes_into_its_layers_stays_beside_the_piece() -> None:
    behind = kept(DENSE, replace(SHORT, prefix=300), recomputes=True)
    inputs = DENSE.layers * DENSE.hidden * 300 * HALF.bytes_each
    assert behind == kept(DENSE, SHORT, recomputes=True) + inputs


def test_a_long_prefix_is_computed_again_when_no_piece_is_left() -> None:
    one_layer = kept(DENSE, replace(SHORT, prefix=4000), recomputes=True)
    assert one_layer > kept(DENSE, replace(SHORT, tokens=4000, keys=4000), recomputes=True) * 0.9


def test_dropout_keeps_what_it_left_and_which() -> None:
    dropped = replace(ADAPTER, dropout=0.05)
    plain = activations_bytes(DENSE, ADAPTER, FULL, SHORT, False, False)
    on_cpu = activations_bytes(DENSE, dropped, FULL, SHORT, False, False)
    on_gpu = activations_bytes(DENSE, dropped, FULL, SHORT, True, False)
    assert plain < on_gpu < on_cpu


def test_eager_attention_keeps_the_scores_of_every_head() -> None:
    eager = replace(DENSE, eager=True)
    scores = 8 * 8 * 1000 * 1000 * 2  # layers, heads, queries, keys, bytes
    assert kept(eager, LONG) - kept(DENSE, LONG) > scores * 0.9


def test_padded_rows_keep_keys_of_each_row() -> None:
    one, padded = Piece(400, 100, 10), Piece(400, 100, 10, lines=4)
    assert kept(DENSE, padded) > kept(DENSE, one)


def test_keys_and_values_are_of_all_layers_and_key_heads() -> None:
    assert kv_bytes(DENSE, 100, 2) == 2 * 8 * 2 * 64 * 100 * 2


def test_logits_are_counted_for_answers_alone() -> None:
    assert logits_bytes(DENSE, Piece(5000, 5000, 10)) == 3 * 10 * 32_000 * 4


def test_unpacking_takes_copies_of_the_largest_experts_while_loading() -> None:
    assert loading_bytes(1000, "dequantized") == 8000
    assert loading_bytes(1000, "none") == 2000
    assert loading_bytes(1000, "packed") < 600


def test_checkpoints_are_those_kept_one_in_the_making_and_the_best() -> None:
    assert checkpoints_gb(1_000_000, kept=2) == pytest.approx(4 * 0.012)


def computed(shape: BaseShape = DENSE) -> Computed:
    return Computed(shape, HALF, ADAPTER, on_gpu=True)


def test_a_training_is_planned_at_its_largest_piece() -> None:
    both = training_need(computed(), [SHORT, LONG, SHORT])
    assert both == training_need(computed(), [LONG])


def test_the_parts_add_up() -> None:
    for need in (
        training_need(computed(), [SHORT]),
        evaluation_need(computed(), 300, [60, 80], 128),
    ):
        assert need.tensors_gb == pytest.approx(sum(part.bytes for part in need.parts) / 1e9)
        assert need.total_gb == need.tensors_gb + need.libraries_gb
        assert all(part.bytes >= 0 for part in need.parts)


def test_longer_replies_need_a_larger_kv_cache() -> None:
    short, long = (evaluation_need(computed(), 300, [60], reply) for reply in (16, 512))
    assert long.total_gb > short.total_gb


@pytest.mark.parametrize(("need", "word"), [(10.0, "yes"), (22.0, "tight"), (24.1, "no")], ids=str)
def test_what_fills_more_than_nine_tenths_is_tight(need: float, word: str) -> None:
    assert PlannedDevices(1, 24, is_gpu=True).fits(need) == word
    assert PlannedDevices(1, None, is_gpu=True).fits(need) == "unknown"


@pytest.mark.parametrize(("text", "count", "gb"), [("4x24", 4, 24), ("1X79.5GB", 1, 79.5)])
def test_gpus_are_given_as_count_and_memory(text: str, count: int, gb: float) -> None:
    devices = gpus_of(text)
    assert (devices.count, devices.memory_gb, devices.is_gpu) == (count, gb, True)


@pytest.mark.parametrize("text", ["24", "4x", "0x24", "4x0", "a100", "4 x 24", "x24"])
def test_gpus_in_another_form_are_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"COUNTxGB, such as 1x80 or 4x24"):
        gpus_of(text)


def test_time_grows_with_steps_passes_and_tokens_and_is_a_range() -> None:
    gpu = PlannedDevices(1, 80, is_gpu=True)
    one = time_range(DENSE, 1000, 1e6, 100, gpu, passes=2)
    assert 0 < one.shortest_h < one.longest_h
    for more in (
        time_range(DENSE, 1000, 1e6, 200, gpu, passes=2),
        time_range(DENSE, 2000, 2e6, 100, gpu, passes=2),
    ):
        assert more.shortest_h == pytest.approx(2 * one.shortest_h)
    assert time_range(DENSE, 1000, 1e6, 100, gpu, passes=3).longest_h > one.longest_h


def test_experts_use_less_of_a_gpu_than_dense_layers() -> None:
    gpu = PlannedDevices(1, 80, is_gpu=True)
    dense = time_range(DENSE, 1000, 0, 1, gpu, passes=2)
    sparse = time_range(gpt_oss(24, 32), 1000, 0, 1, gpu, passes=2)
    assert sparse.shares[1] < dense.shares[1]


def test_the_assumptions_of_a_time_say_how_often_a_piece_is_computed() -> None:
    gpu = PlannedDevices(1, 24, is_gpu=True)
    said = time_range(DENSE, 1000, 0, 1, gpu, passes=3).assumptions
    assert "3 passes (forward, forward again, backward), a peak of 125 TFLOPS" in said
