"""Flex attention gets the mask that the other attention codes get; on a GPU it is as exact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gradients import collected, relative_error
from test_step import FORMS, ROWS, learn, works_in
from torch.nn.attention.flex_attention import create_mask, flex_attention
from transformers.integrations import flex_attention as library

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig
from hsd.model import packing
from hsd.model.adapter import new_adapter
from hsd.model.base import load_base
from hsd.model.families import why_not_flex
from hsd.model.flex_mask import BLOCK, FLEX, block_mask
from hsd.model.forks import Forked, pack_forked
from hsd.model.packing import (
    Packed,
    attention_masks,
    compute_prefix,
    in_whole_blocks,
    joined_rows,
    logits_of,
    mask_of,
    pack,
    pack_prefix,
    visible_positions,
)
from hsd.model.placement import Launch, Placement
from hsd.model.twin import twin_of
from hsd.training import training_plan

pytestmark = pytest.mark.model

PREFIX = list(range(3, 43))
POSTS = [list(range(50, 50 + count)) for count in (3, 30, 9, 17)]


def behind() -> tuple[Packed, Packed]:
    """Return rows and what they see: a prefix that was computed before, and themselves."""
    rows = pack(POSTS, len(PREFIX))
    return rows, joined_rows([pack_prefix(PREFIX), rows])


def with_prefix() -> tuple[Packed, Packed]:
    every = joined_rows([pack_prefix(PREFIX), pack(POSTS, len(PREFIX))])
    return every, every


def forked() -> tuple[Packed, Packed]:
    """Return rows whose answers fork into branches, which do not see each other."""
    rows = [Forked(post, [[7, 8, 9], [11]], 1) for post in POSTS]
    packed = pack_forked(rows, len(PREFIX), "cpu")
    return packed, joined_rows([pack_prefix(PREFIX), packed])


def prefix_alone() -> tuple[Packed, Packed]:
    return pack_prefix(PREFIX), pack_prefix(PREFIX)


PACKINGS = pytest.mark.parametrize(
    "packing_of", [behind, with_prefix, forked, prefix_alone], ids=lambda made: made.__name__
)
Made = Callable[[], tuple[Packed, Packed]]


@PACKINGS
@pytest.mark.parametrize("window", [None, 16])
def test_the_mask_as_a_function_is_the_dense_mask(packing_of: Made, window: int | None) -> None:
    queries, keys = packing_of()
    as_function = mask_of(queries, keys, window)
    dense = create_mask(as_function, None, None, len(queries), len(keys), device="cpu")
    assert torch.equal(dense[0, 0], visible_positions(queries, keys, window))


@PACKINGS
def test_no_block_that_somebody_sees_is_left_out(packing_of: Made) -> None:
    queries, keys = packing_of()
    seen = visible_positions(queries, keys)
    blocks = block_mask(mask_of(queries, keys), len(queries), len(keys), "cpu").to_dense()[0, 0]
    for row in range(blocks.shape[0]):
        for column in range(blocks.shape[1]):
            inside = seen[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
            assert bool(blocks[row, column]) == bool(inside.any())


def base_of(folder: Path, attention: str | None = None) -> Any:
    """Return a tiny model; with flex its code is set afterwards, as a CPU refuses it."""
    model = load_base(ModelConfig(name=str(folder), device="cpu")).model
    if attention:
        model.config._attn_implementation_internal = attention
    return model


def test_pieces_are_filled_up_for_flex_alone(tiny_llama: Path) -> None:
    rows = pack(POSTS, len(PREFIX))
    assert in_whole_blocks(base_of(tiny_llama), rows) is rows
    filled = in_whole_blocks(base_of(tiny_llama, FLEX), rows)
    assert len(filled) == BLOCK
    sees = visible_positions(filled, joined_rows([pack_prefix(PREFIX), filled]))
    assert sees.any(1).all()  # attention that sees nothing is no number
    own, others = sees[: len(rows)], sees[len(rows) :]
    assert not own[:, len(PREFIX) + len(rows) :].any()
    assert not others[:, len(PREFIX) : len(PREFIX) + len(rows)].any()


def test_layers_with_a_window_get_a_block_mask_of_their_own(tiny_gpt_oss: Path) -> None:
    rows, seen = behind()
    masks = attention_masks(base_of(tiny_gpt_oss, FLEX), rows, seen)
    for kind, window in (("full_attention", None), ("sliding_attention", 16)):
        dense = create_mask(masks[kind].mask_mod, None, None, len(rows), len(seen), device="cpu")
        assert torch.equal(dense[0, 0], visible_positions(rows, seen, window))


def uncompiled(*states: Any, training: bool, **how: Any) -> Any:
    assert not training
    return flex_attention(*states, **how)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma3"])
def test_flex_gives_the_logits_of_the_other_codes(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not compiled, which is all that a CPU has of it: forward, and without sinks."""
    folder = request.getfixturevalue(family)
    monkeypatch.setattr(library, "compile_friendly_flex_attention", uncompiled)
    rows = pack(POSTS, len(PREFIX))
    keep = torch.tensor([2, 32, len(rows) - 1])

    def logits(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return logits_of(model, rows, keep, compute_prefix(model, PREFIX))

    expected, model = logits(base_of(folder)), base_of(folder)
    model.set_attn_implementation(FLEX)
    assert model.config.get_text_config()._attn_implementation == FLEX
    found = logits(model)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5


def test_the_twin_of_a_model_with_flex_computes_eagerly(tiny_gpt_oss: Path) -> None:
    twin = twin_of(base_of(tiny_gpt_oss, FLEX))
    assert twin.config._attn_implementation == "eager"


# What a training takes

GPU = Placement("cuda:0", torch.bfloat16, "there is one", Launch(0, 0, 1))
CPU = Placement("cpu", torch.float32, "no GPU", Launch(0, 0, 1))


@pytest.mark.parametrize(
    ("placement", "changes", "off", "taken"),
    [
        (GPU, {}, None, "flex"),
        (GPU, {}, "flex attention is off by nan on cuda:0", "auto"),
        (CPU, {}, None, "auto"),
        (GPU, {"training": {"prefix_sharing": "off"}}, None, "auto"),
        (GPU, {"model": {"attention": "eager"}}, None, "eager"),
    ],
)
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss"])
def test_a_training_takes_flex_on_a_gpu_where_it_is_right(
    family: str,
    placement: Placement,
    changes: dict[str, Any],
    off: str | None,
    taken: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import small_runs

    folder = request.getfixturevalue(family)
    monkeypatch.setattr(training_plan, "why_flex_is_off", lambda *_: off)
    config = small_runs.config(folder, tmp_path, **changes)
    base = load_base(ModelConfig(name=str(folder), device="cpu")).source.config
    assert training_plan.learning_attention(config, base, placement) == taken


def test_a_run_that_began_with_another_attention_keeps_it(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import small_runs

    monkeypatch.setattr(training_plan, "why_flex_is_off", lambda *_: None)
    monkeypatch.setattr(training_plan, "began_in", lambda _: {"attention": "sdpa"})
    base = load_base(ModelConfig(name=str(tiny_llama), device="cpu")).source.config
    config = small_runs.config(tiny_llama, tmp_path)
    assert training_plan.learning_attention(config, base, GPU) == "sdpa"


def test_a_base_that_drops_attention_out_learns_without_flex(tiny_llama: Path) -> None:
    model = base_of(tiny_llama)
    assert why_not_flex(model, "cuda:0") is None
    model.config.attention_dropout = 0.1
    assert why_not_flex(model, "cuda:0") == "flex attention has no dropout of its own"


# On a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss"])
@pytest.mark.parametrize("form", FORMS)
def test_on_a_gpu_flex_has_the_gradient_of_eager_attention(
    family: str, form: str, request: pytest.FixtureRequest
) -> None:
    def gradients(attention: str) -> dict[str, torch.Tensor]:
        config = ModelConfig(
            name=str(request.getfixturevalue(family)),
            device="cuda",
            dtype="float32",
            quantization="none",
            attention=attention,
        )
        lora = LoraConfig(rank=4, alpha=8, dropout=0.0, target_modules="all-linear")
        model: Any = new_adapter(load_base(config), lora, seed=1)
        learn(model, works_in(form, ROWS), ROWS)
        return collected(model)

    assert relative_error(gradients("flex"), gradients("eager")) <= 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_probe_finds_flex_right() -> None:
    from transformers import LlamaConfig

    from hsd.model.flex_probe import why_flex_is_off

    assert why_flex_is_off(LlamaConfig(), torch.bfloat16, "cuda:0") is None


def test_a_mask_that_hides_too_little_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the law on masks can fail."""
    queries, keys = behind()
    with monkeypatch.context() as patched:
        patched.setattr(packing, "PREFIX", 1)
        dense = create_mask(
            mask_of(queries, keys), None, None, len(queries), len(keys), device="cpu"
        )
    assert not torch.equal(dense[0, 0], visible_positions(queries, keys))
