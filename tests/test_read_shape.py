"""The sizes of a base as the plan reads them, beside what peft and autograd say of real models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from test_memory_parts import gpt_oss
from transformers import AutoConfig, GptOssConfig, LlamaConfig, PretrainedConfig

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig, TrainConfig
from hsd.model.adapter import new_adapter
from hsd.model.base import find_base, load_base
from hsd.model.base_shape import BaseShape
from hsd.model.memory_parts import AdapterShape, Held, activations_bytes, base_bytes
from hsd.model.quantization import held_bytes, nf4_config, skeleton
from hsd.model.read_shape import read_shape
from hsd.prompts.render import Encoded
from hsd.training.disk_space import adapter_parameters
from hsd.training.microbatches import StepPlan
from hsd.training.step import step_log_probabilities
from hsd.training.step_size import computed_pairs, computed_tokens, piece_sizes

pytestmark = pytest.mark.model

BASES: dict[str, Callable[[Path], Path]] = {"llama": tiny.llama, "gpt_oss": tiny.gpt_oss}
PREFIX = [5] * 60
ROWS = [Encoded(str(n), [*PREFIX, *[6] * (20 + n)], [7, 8, 9]) for n in range(4)]


def config_of(folder: Path) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(folder)
    return config


@pytest.mark.parametrize(("layers", "experts"), [(24, 32), (36, 128)])
def test_gpt_oss_is_read_in_its_released_sizes(layers: int, experts: int) -> None:
    config = GptOssConfig(num_hidden_layers=layers, num_local_experts=experts)
    read, wanted = read_shape(config), gpt_oss(layers, experts)
    for name in ("parameters", "fused_parameters", "linear_parameters", "largest", "eager"):
        assert getattr(read, name) == getattr(wanted, name), name
    assert (read.experts, read.experts_per_token) == (experts, 4)


@pytest.mark.parametrize("family", BASES)
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), "all-linear"], ids=str)
def test_the_plan_counts_the_parameters_that_peft_makes(
    family: str, targets: Any, tmp_path: Path
) -> None:
    folder = BASES[family](tmp_path)
    model = ModelConfig(name=str(folder), device="cpu")
    config = TrainConfig(model=model, lora=LoraConfig(rank=4, target_modules=targets))
    real = adapter_parameters(config, find_base(model))
    assert read_shape(config_of(folder)).adapter_parameters(4, targets) == real


def test_an_adapter_is_planned_on_the_text_model_alone(tmp_path: Path) -> None:
    folder = tiny.gemma3(tmp_path)
    model = ModelConfig(name=str(folder), device="cpu")
    config = TrainConfig(model=model, lora=LoraConfig(rank=4))
    real = adapter_parameters(config, find_base(model))
    assert read_shape(config_of(folder)).adapter_parameters(4, ("q_proj", "v_proj")) == real


@pytest.mark.parametrize("double", [True, False])
def test_the_plan_and_the_check_before_loading_count_the_same_weights(double: bool) -> None:
    config = LlamaConfig(num_hidden_layers=2, hidden_size=256, intermediate_size=512)
    bits = nf4_config(double)
    checked = held_bytes(skeleton(config), bits, torch.bfloat16)
    assert base_bytes(read_shape(config), Held("nf4", 2, double)) == checked


@pytest.mark.parametrize("family", BASES)
@pytest.mark.parametrize("dropout", [0.0, 0.05])
@pytest.mark.parametrize("form", ["with", "alone"])
def test_the_plan_counts_what_autograd_keeps(
    family: str, dropout: float, form: Any, tmp_path: Path
) -> None:
    folder = BASES[family](tmp_path)
    base = load_base(ModelConfig(name=str(folder), device="cpu"))
    lora = LoraConfig(rank=4, dropout=dropout)
    shape = read_shape(config_of(folder))
    model = new_adapter(base, lora, seed=0).train()
    work = StepPlan(form, [] if form == "alone" else PREFIX, [ROWS], 0)
    (piece,) = piece_sizes([work])
    adapter = AdapterShape(4, shape.targets(lora.target_modules), dropout)
    planned = activations_bytes(shape, adapter, Held("none", 4), piece, False, False)
    kept = _kept_bytes(model, lambda: step_log_probabilities(model, work, ROWS, None, 0))
    assert planned == pytest.approx(kept - _others(shape, piece.logits, piece.tokens), rel=0.1)


def _others(shape: BaseShape, logits: int, tokens: int) -> int:
    """What is counted elsewhere, or the same for all layers: the softmax, the last norm, angles."""
    last_norm = tokens * (shape.hidden + 1) * 4
    return logits * shape.vocabulary * 4 + last_norm + 2 * tokens * shape.head_width * 4


def _kept_bytes(model: Any, forward: Callable[[], torch.Tensor]) -> int:
    """Return the bytes of what a forward keeps for its backward, each storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    held: list[torch.Tensor] = []  # so that no two have the same place

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(kept.values())


def test_a_prefix_counts_once_behind_and_once_a_piece_within() -> None:
    pieces = [ROWS[:2], ROWS[2:]]
    own = sum(len(row.prompt) - len(PREFIX) + len(row.answer) for row in ROWS)
    behind = [StepPlan("behind", PREFIX, pieces, 0)]
    within = [StepPlan("with", PREFIX, pieces, 0)]
    assert computed_tokens(behind) == 60 + own
    assert computed_tokens(within) == 2 * 60 + own
    assert computed_pairs(behind) > 60 * 60
    assert [piece.prefix for piece in piece_sizes(behind)] == [60, 60]
