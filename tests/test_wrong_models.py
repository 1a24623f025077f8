"""Models that do not follow the positions or masks they are given, in 16 and in 4 bit.

There rounding is as large as what most of these mistakes make; none may share prompts for it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from test_step import ROOMY, ROWS
from test_ways import Evaluation
from transformers import MistralConfig, MistralForCausalLM

from hsd.config.model_config import ModelConfig
from hsd.errors import EvaluationError
from hsd.model import packing
from hsd.model.base import load_base
from hsd.model.tolerance import SelfTest
from hsd.training.gradient_test import check_gradients
from hsd.training.microbatches import find_sharing

pytestmark = pytest.mark.model

Break = Callable[[pytest.MonkeyPatch], None]

WINDOW = 16


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny Mistral: a sliding window, and linear layers that 4 bit takes."""
    folder = tmp_path_factory.mktemp("mistral")
    words = tiny.tokenizer()
    config = MistralConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=WINDOW,
        max_position_embeddings=1024, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(params=["none", "nf4"])
def quantization(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_training(folder: Path, quantization: str) -> SelfTest:
    config = ModelConfig(
        name=str(folder), device="cpu", dtype="bfloat16", quantization=quantization
    )
    return check_gradients(load_base(config).model, ROWS, find_sharing(ROWS, ROOMY))


def positions_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model count places in the packed sequence, whatever positions it is given."""
    forward = MistralForCausalLM.forward

    def wrong(self: Any, *args: Any, position_ids: Any = None, **given: Any) -> Any:
        if position_ids is not None and len(position_ids) == 1:
            past = given.get("past_key_values")
            start = past.get_seq_length() if past is not None else 0
            position_ids = torch.arange(start, start + position_ids.shape[1])[None]
        return forward(self, *args, position_ids=position_ids, **given)

    monkeypatch.setattr(MistralForCausalLM, "forward", wrong)


def seen_otherwise(sees: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Break:
    """Return what changes the model's masks, given query and key places and what is seen."""

    def change(monkeypatch: pytest.MonkeyPatch) -> None:
        forward = MistralForCausalLM.forward

        def wrong(self: Any, *args: Any, attention_mask: Any = None, **given: Any) -> Any:
            if attention_mask is not None and attention_mask.dim() == 4:
                queries, keys = attention_mask.shape[2:]
                distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)[None]
                attention_mask = sees(distance, attention_mask)
            return forward(self, *args, attention_mask=attention_mask, **given)

        monkeypatch.setattr(MistralForCausalLM, "forward", wrong)

    return change


WRONG = {
    "positions ignored": positions_ignored,
    "window counted by place": seen_otherwise(lambda away, mask: mask & (away < WINDOW)),
    "the next token is seen": seen_otherwise(lambda away, mask: mask | (away == -1)),
    "the token before is not seen": seen_otherwise(lambda away, mask: mask & (away != 1)),
    "causal, and no mask": seen_otherwise(lambda away, mask: (away >= 0).expand_as(mask)),
}


def test_what_is_right_passes_both_parts(windowed: Path, quantization: str) -> None:
    found = in_training(windowed, quantization)
    assert found.problem is None
    said = found.facts()
    assert said["twin"]["largest_difference"] < 1e-4
    assert said["twin"]["gradient"] < 1e-4
    assert said["largest_difference"] < said["tolerance"] / 2
    assert 0 < said["floor"] < said["tolerance"]


@pytest.mark.parametrize("wrong", WRONG)
def test_no_wrong_model_shares_prompts_in_training(
    wrong: str, windowed: Path, quantization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRONG[wrong](monkeypatch)
    problem = str(in_training(windowed, quantization).problem)
    assert problem.startswith("on a small exact twin of MistralForCausalLM rows behind a shared")


@pytest.mark.parametrize("mode", ["score", "generate"])
@pytest.mark.parametrize("wrong", WRONG)
def test_no_wrong_model_shares_prompts_in_evaluation(
    wrong: str,
    mode: str,
    windowed: Path,
    quantization: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how = {"name": str(windowed), "device": "cpu", "dtype": "bfloat16"}
    evaluation = Evaluation(
        windowed,
        tmp_path,
        mode=mode,
        prefix_sharing="on",
        model=how | {"quantization": quantization},
    )
    assert evaluation.chosen().shared
    WRONG[wrong](monkeypatch)
    with pytest.raises(EvaluationError, match="on a small exact twin of MistralForCausalLM"):
        evaluation.chosen()


@pytest.mark.parametrize("off", [-1, 1])
def test_a_window_that_is_one_off_is_found(
    off: int, windowed: Path, quantization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    visible = packing.visible_positions
    monkeypatch.setattr(
        packing, "visible_positions", lambda q, k, w=None: visible(q, k, w and w + off)
    )
    assert "on a small exact twin" in str(in_training(windowed, quantization).problem)


def test_a_model_that_was_patched_after_loading_shares_nothing(tiny_llama: Path) -> None:
    model = load_base(ModelConfig(name=str(tiny_llama), device="cpu", dtype="bfloat16")).model
    forward = model.forward
    model.forward = lambda *args, **given: forward(*args, **given | {"position_ids": None})
    problem = str(check_gradients(model, ROWS, find_sharing(ROWS, ROOMY)).problem)
    assert problem.startswith("the forward of the loaded model was replaced after loading")


def test_a_prefix_whose_gradient_is_lost_is_found(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_base(ModelConfig(name=str(tiny_llama), device="cpu", dtype="bfloat16")).model
    monkeypatch.setattr("hsd.training.step.back_through", lambda *_: None)
    sharing = find_sharing(ROWS, ROOMY)
    problem = str(check_gradients(model, ROWS, sharing).problem)
    assert "rows that share a prompt have another gradient than alone" in problem
