"""The twin: small, exact, made from class and config alone, and wrong wherever its model is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from hsd.config.model_config import ModelConfig
from hsd.errors import ModelError
from hsd.evaluation.engine_test import check_twins_replies, check_twins_scores
from hsd.model import packing
from hsd.model.base import load_base
from hsd.model.quantization import skeleton
from hsd.model.twin import EXPERTS, WINDOW, made_up_rows, shrunk, twin_of
from hsd.training.gradient_test import check_twin

pytestmark = pytest.mark.model

FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": 4096},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 8},
    "phi3": {},
    "gemma2": {},
    "gemma3_text": {},
    "gemma4_text": {},
    "gpt_oss": {"num_local_experts": 8},
    "smollm3": {},
    "olmo3": {},
    "deepseek_v3": {"n_routed_experts": 8},
    "mixtral": {},
    "gpt2": {},
}
"""What a base may be, at the widths that the library gives it by default, and with few layers."""

DROPS_THE_CACHE = {"gpt2"}
"""Where activations are computed again, such a model never looks at what stands before."""


def model_of(family: str, **changes: Any) -> Any:
    """Return a model without memory for its weights; a twin needs no more."""
    config = AutoConfig.for_model(family, num_hidden_layers=6, **FAMILIES[family] | changes)
    config._attn_implementation = "eager" if family in ("gpt_oss", "gemma2") else "sdpa"
    return skeleton(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_behind_a_prompt_are_right_on_the_twin_of_any_family(family: str) -> None:
    twin = twin_of(model_of(family))
    assert sum(weight.numel() for weight in twin.parameters()) < 60e6
    recomputes = (False,) if family in DROPS_THE_CACHE else (False, True)
    checked = check_twin(twin, made_up_rows(), recomputes)
    assert checked.problem is None
    assert checked.largest_difference < 1e-4
    assert checked.gradient is not None
    assert checked.gradient < 1e-4


@pytest.mark.parametrize("family", DROPS_THE_CACHE)
def test_a_model_that_drops_the_prefix_where_it_recomputes_is_found(family: str) -> None:
    found = check_twin(twin_of(model_of(family)), made_up_rows(), recomputes=(True,))
    assert "another gradient than alone" in str(found.problem)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_that_is_one_off_is_far_beyond_the_bound(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    visible = packing.visible_positions

    def one_too_few(queries: Any, keys: Any, window: int | None = None) -> torch.Tensor:
        before = queries.position[:, None] - 1 == keys.position[None, :]
        return visible(queries, keys, window) & ~before

    twin = twin_of(model_of(family))
    monkeypatch.setattr(packing, "visible_positions", one_too_few)
    assert check_twin(twin, made_up_rows()).largest_difference > 0.01


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text", "gemma4_text", "gpt_oss"])
def test_a_window_that_is_one_off_is_far_beyond_the_bound(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    visible = packing.visible_positions
    twin = twin_of(model_of(family))
    for off in (-1, 1):
        monkeypatch.setattr(
            packing, "visible_positions", lambda q, k, w=None, o=off: visible(q, k, w and w + o)
        )
        assert check_twin(twin, made_up_rows()).largest_difference > 0.01


@pytest.mark.parametrize("family", ["gemma3_text", "gpt_oss"])
def test_scores_and_replies_of_a_twin_show_a_wrong_mask_too(
    family: str, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head tied to large embeddings would reply the same whatever it sees."""
    words = load_base(ModelConfig(name=str(tiny_llama), device="cpu")).tokenizer
    model = model_of(family)
    checks: tuple[Callable[[], Any], ...] = (
        lambda: check_twins_scores(model),
        lambda: check_twins_replies(model, words, [2]),
    )
    assert all(check().largest_difference < 1e-4 for check in checks)
    visible = packing.visible_positions
    monkeypatch.setattr(
        packing,
        "visible_positions",
        lambda q, k, w=None: visible(q, k, w) & (q.position[:, None] - 1 != k.position[None, :]),
    )
    assert all(check().largest_difference > 0.01 for check in checks)


def test_what_decides_on_masks_and_positions_stays() -> None:
    config = model_of("gpt_oss").config
    small = shrunk(config)
    assert small.layer_types == ["sliding_attention", "full_attention"]
    assert small.sliding_window == WINDOW
    assert (small.head_dim, small.rope_parameters) == (config.head_dim, config.rope_parameters)
    # Were some of the experts chosen, rounding would choose otherwise now and then.
    assert small.num_local_experts == small.num_experts_per_tok == EXPERTS
    two_of_eight = shrunk(model_of("mixtral").config)
    assert two_of_eight.num_local_experts == two_of_eight.num_experts_per_tok == EXPERTS
    assert any("sinks" in name for name, _ in twin_of(model_of("gpt_oss")).named_parameters())
    assert config.num_hidden_layers == 6, "the model's own config is left alone"


def test_one_layer_of_each_kind_is_kept_whatever_list_tells_them_apart() -> None:
    assert shrunk(model_of("llama").config).num_hidden_layers == 2
    without_positions = shrunk(model_of("smollm3").config)
    assert without_positions.no_rope_layers == [1, 0]
    shared = shrunk(model_of("gemma4_text", num_kv_shared_layers=2, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention",
        "full_attention", "sliding_attention", "full_attention",
    ]).config)  # fmt: skip
    assert shared.layer_types == ["sliding_attention", "full_attention"] * 2
    assert shared.num_kv_shared_layers == 2
    widths = [layer.head_dim for layer in shared.per_layer_config]
    assert widths == [256, 512, 256, 512]


def test_a_twin_is_always_the_same_and_draws_nothing_from_the_runs_dice(tiny_llama: Path) -> None:
    model = load_base(ModelConfig(name=str(tiny_llama), device="cpu", dtype="bfloat16")).model
    before = torch.get_rng_state()
    one, other = twin_of(model), twin_of(model)
    assert torch.equal(torch.get_rng_state(), before)
    weights = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) and a.dtype == torch.float32 for a, b in weights)
    assert model.dtype == torch.bfloat16


def test_the_twin_of_a_4_bit_model_with_an_adapter_is_one_of_its_base(tiny_llama: Path) -> None:
    from hsd.config.train_config import LoraConfig
    from hsd.model.adapter import new_adapter

    config = ModelConfig(name=str(tiny_llama), device="cpu", dtype="bfloat16", quantization="nf4")
    twin = twin_of(new_adapter(load_base(config), LoraConfig(), seed=1))
    assert type(twin) is transformers.LlamaForCausalLM
    assert {weight.dtype for weight in twin.parameters()} == {torch.float32}


@pytest.mark.parametrize("part", ["", "model.layers.1.self_attn"])
def test_a_model_whose_forward_was_replaced_has_no_twin(part: str, tiny_llama: Path) -> None:
    model = load_base(ModelConfig(name=str(tiny_llama), device="cpu")).model
    module = model.get_submodule(part)
    module.forward = module.forward
    with pytest.raises(ModelError, match=f"forward of {part or 'the loaded model'} was replaced"):
        twin_of(model)


def test_an_architecture_that_cannot_be_made_small_is_refused_with_the_reason(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(*_: Any, **__: Any) -> None:
        raise ValueError("hidden_size must be\n4096")

    model = load_base(ModelConfig(name=str(tiny_llama), device="cpu")).model
    monkeypatch.setattr(PreTrainedModel, "_from_config", stubborn)
    with pytest.raises(
        ModelError, match=r"no small twin .* \(ValueError: hidden_size must be 4096"
    ):
        twin_of(model)
