"""Activation checkpointing changes no gradient, and the prefix stays computed once a step."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from gradients import (
    PRECISIONS,
    collected,
    exact_norms,
    labels_one_by_one,
    one_by_one,
    relative_error,
)
from test_step import ANSWER, FORMS, LABEL, ROWS, TIGHT, labelled, learner, model_of, works_in
from transformers import AutoConfig, AutoModelForCausalLM

from hsd.model.recompute import recompute_activations
from hsd.prompts.render import Encoded
from hsd.training.microbatches import StepPlan, find_sharing
from hsd.training.objective import Objective, count_losses

pytestmark = pytest.mark.model

__all__ = ["exact_norms"]

OTHERS: dict[str, dict[str, Any]] = {
    "gemma3_text": {"sliding_window": 16, "query_pre_attn_scalar": 16},
    "qwen3": {},
    "mistral": {"sliding_window": 16},
}
"""Beside the tiny bases that all tests share; their windows are shorter than most rows."""

BASES = ("tiny_llama", "tiny_gpt_oss", "tiny_mxfp4", *OTHERS)


@pytest.fixture
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name = request.param
    return written(name, tmp_path / name) if name in OTHERS else request.getfixturevalue(name)


def written(family: str, folder: Path) -> Path:
    """Write a tiny base of another family and return its folder."""
    words = tiny.tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=1024,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, bos_token_id=None,
        **OTHERS[family],
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def learned(
    model: Any, works: list[StepPlan], rows: list[Encoded], objective: Objective = ANSWER
) -> dict[str, torch.Tensor]:
    model.train()
    learner(model, objective).learn(works, count_losses(rows))
    return collected(model)


@pytest.mark.parametrize("base", BASES, indirect=True)
@PRECISIONS
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("exact_norms")
def test_a_recomputed_steps_gradient_is_that_of_its_rows_one_by_one(
    base: Path, dtype: torch.dtype, tolerance: float, form: str
) -> None:
    model = model_of(base, dtype)
    expected = one_by_one(model, ROWS)
    recompute_activations(model, on=True)
    assert relative_error(learned(model, works_in(form, ROWS), ROWS), expected) <= tolerance
    recompute_activations(model, on=False)
    assert relative_error(learned(model, works_in(form, ROWS), ROWS), expected) <= tolerance


@pytest.mark.parametrize("base", BASES, indirect=True)
@pytest.mark.usefixtures("exact_norms")
def test_labels_as_branches_behind_a_prefix_have_their_gradient_recomputed_too(base: Path) -> None:
    model, rows = model_of(base, torch.float64), labelled(ROWS)
    expected = labels_one_by_one(model, rows, LABEL)
    recompute_activations(model, on=True)
    found = learned(model, works_in("behind a prefix, roomy", rows), rows, LABEL)
    assert relative_error(found, expected) <= 1e-10


@contextmanager
def counted_reads(model: Any) -> Iterator[Counter[int]]:
    """Count how often the first layer reads so many tokens at once, again in a backward too."""
    found: Counter[int] = Counter()
    layer = next(
        m for name, m in model.named_modules() if name.endswith("layers.0.input_layernorm")
    )
    hook = layer.register_forward_hook(lambda _, given, __: found.update([given[0].shape[1]]))
    try:
        yield found
    finally:
        hook.remove()


@pytest.mark.parametrize(("again", "times"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("base", BASES, indirect=True)
def test_the_prefix_is_read_once_a_step_and_once_more_where_activations_are_recomputed(
    base: Path, again: bool, times: int
) -> None:
    model, rows = model_of(base), ROWS[:5]
    recompute_activations(model, on=again)
    works = [replace(work, form="behind") for work in find_sharing(rows, TIGHT).work(rows)]
    (work,) = works
    assert len(work.pieces) > 1
    with counted_reads(model) as found:
        learned(model, works, rows)
    assert found[len(work.prefix)] == times
    assert found.total() == times * (1 + len(work.pieces))


def test_nobody_is_told_that_a_cache_was_dropped(
    tiny_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of(tiny_llama)
    recompute_activations(model, on=True)
    learned(model, works_in("behind a prefix, roomy", ROWS), ROWS)
    assert not caplog.records


def test_what_keeps_its_activations_again_is_as_it_was(tiny_llama: Path) -> None:
    model = model_of(tiny_llama)
    recompute_activations(model, on=True)
    recompute_activations(model, on=False)
    assert not model.is_activation_checkpointing
    assert not model.get_input_embeddings()._forward_hooks
