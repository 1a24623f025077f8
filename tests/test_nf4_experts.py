"""Fused experts in NF4 are counted, computed as what they stand for, and never kept unpacked."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
import tiny
import torch
from gradients import collected, relative_error
from small_runs import adapter_bytes
from torch.autograd.graph import saved_tensors_hooks

from hsd.config.evaluate_config import EvalConfig
from hsd.config.merge_config import MergeConfig
from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig
from hsd.errors import ModelError, Stopped
from hsd.evaluation.evaluate import evaluate
from hsd.evaluation.subject import subject
from hsd.io.json_reader import read_json
from hsd.io.manifest import MANIFEST
from hsd.model.adapter import new_adapter
from hsd.model.base import Base, load_base
from hsd.model.dequantize import dequantize
from hsd.model.describe import describe_base
from hsd.model.merge import merge
from hsd.model.nf4_experts import fused_experts
from hsd.model.quantization import choose_quantization, held_bytes, is_kept, skeleton
from hsd.model.recompute import recompute_activations
from hsd.training.planned_devices import PlannedDevices
from hsd.training.run_plan import plan_run
from hsd.training.training_plan import COMPUTED_AGAIN, plan_training
from hsd.training.training_run import train

pytestmark = pytest.mark.model

IDS = torch.arange(3, 43).view(2, 20)
EXPERTS = 2 * 4 * (2 * 64 * 64 + 64 * 64)
"""Numbers in the experts of two layers: four of each, gate, up and down."""


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.qwen3_moe(tmp_path_factory.mktemp("tiny") / "qwen3_moe")


def loaded(folder: Path, held: str = "nf4_experts", dtype: str = "float32") -> Base:
    asked = {"name": str(folder), "device": "cpu", "dtype": dtype, "quantization": held}
    return load_base(ModelConfig.model_validate(asked))


def adapted(base: Base, *, recompute: bool = True) -> Any:
    model = new_adapter(base, LoraConfig(rank=4, dropout=0.0), seed=3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(5))
    if recompute:
        recompute_activations(model, on=True)
    return model.train()


def learned(model: Any) -> Any:
    model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    return collected(model)


def test_the_experts_are_counted_and_take_what_was_planned(moe: Path) -> None:
    base, plain = loaded(moe), loaded(moe, "none")
    facts, whole = describe_base(base), describe_base(plain)
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32)
    assert facts["quantization"] == "nf4_experts"
    assert facts["parameters"] == whole["parameters"]
    assert facts["quantized_share"] == round((EXPERTS + linear) / whole["parameters"], 4)
    assert facts["weights_sha256"] == whole["weights_sha256"]
    assert len(fused_experts(base.model)) == len(fused_experts(plain.model)) == 4
    held = held_bytes(skeleton(base.source.config), base.quantization.bits, torch.float32)
    assert facts["footprint_gb"] < whole["footprint_gb"]
    # Of each parameter half a byte, and its block's constants, which the footprint leaves out.
    assert held == pytest.approx(facts["footprint_gb"] * 1e9, rel=0.2)


def test_a_forward_is_that_of_the_dequantised_experts(moe: Path) -> None:
    with torch.inference_mode():
        in_4bit = loaded(moe, dtype="bfloat16").model(IDS).logits
        plain = dequantize(loaded(moe, dtype="bfloat16")).model(IDS).logits
        original = loaded(moe, "none", "bfloat16").model(IDS).logits
    off = (in_4bit - plain).norm() / plain.norm()
    assert off < 0.02  # of bfloat16, in which linear layers are computed
    assert (in_4bit - original).norm() / original.norm() > 2 * off


def test_an_experts_layer_alone_gives_exactly_what_its_dequantised_weights_give(moe: Path) -> None:
    states = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    chosen, shares = torch.tensor([[0, 2]] * 5), torch.full((5, 2), 0.5)
    in_4bit, plain = loaded(moe), dequantize(loaded(moe))
    found, expected = (
        base.model.model.layers[0].mlp.experts(states, chosen, shares) for base in (in_4bit, plain)
    )
    assert torch.equal(found, expected)


def test_gradients_are_those_of_the_dequantised_experts(moe: Path) -> None:
    found = learned(adapted(loaded(moe)))
    expected = learned(adapted(dequantize(loaded(moe))))
    assert relative_error(found, expected) < 0.05  # of bfloat16 in linear layers


def test_nothing_as_large_as_the_experts_is_saved_when_activations_are_computed_again(
    moe: Path,
) -> None:
    def largest(recompute: bool) -> int:
        sizes = [0]

        def note(saved: torch.Tensor) -> torch.Tensor:
            sizes.append(saved.numel())
            return saved

        model = adapted(loaded(moe), recompute=recompute)
        with saved_tensors_hooks(note, lambda saved: saved):
            hidden = model.get_decoder()(input_ids=IDS, use_cache=False).last_hidden_state
        assert hidden.requires_grad
        return max(sizes)

    down = 4 * 64 * 64
    assert largest(recompute=True) < down
    assert largest(recompute=False) >= down  # as the law would notice


def test_the_setting_is_refused_where_it_means_nothing(tiny_llama: Path, moe: Path) -> None:
    config = loaded(tiny_llama, "none").source.config
    asked = ModelConfig(name="a/base", quantization="nf4_experts")
    with pytest.raises(ModelError, match=r"no fused experts\. Set model\.quantization=nf4, or"):
        choose_quantization(asked, config, "cuda:0")
    config.quantization_config = {"quant_method": "mxfp4"}
    with pytest.raises(ModelError, match=r"refused: the checkpoint is already quantised \(mxfp4"):
        choose_quantization(asked, config, "cuda:0")
    with pytest.raises(ModelError, match=r"=none, nf4_experts for the experts too, or auto"):
        loaded(moe, "nf4")


def test_it_is_a_way_of_its_own_to_hold_a_base() -> None:
    assert is_kept("nf4_experts", "nf4_experts")
    assert is_kept("auto", "nf4_experts")
    assert not is_kept("nf4", "nf4_experts")
    assert not is_kept("none", "nf4_experts")
    assert not is_kept("nf4_experts", "none")
    assert is_kept("nf4_experts", "packed")


# Runs


@pytest.fixture
def config(moe: Path, tmp_path: Path) -> Callable[..., Any]:
    held = {"quantization": "nf4_experts", "dtype": "float32"}
    return lambda **parts: small_runs.config(moe, tmp_path, model=held, **parts)


@pytest.mark.parametrize("asked", ["auto", False])
def test_a_run_computes_activations_again_and_says_why(
    asked: object, config: Callable[..., Any]
) -> None:
    settings = config(training={"gradient_checkpointing": asked})
    plan = plan_training(settings)
    assert plan.config.training.gradient_checkpointing is True
    assert COMPUTED_AGAIN in plan.notes()
    planned = plan_run(settings, PlannedDevices(1, 8, is_gpu=False))
    parts = {part.name: part.bytes for part in planned.training.parts}
    assert planned.base.how.recomputes
    assert parts["experts of a layer, dequantised"] == EXPERTS / 2 * 4


def test_a_run_is_resumed_evaluated_and_merged(config: Callable[..., Any], tmp_path: Path) -> None:
    def progress(done: int, total: int, what: str) -> None:
        if what == "training" and done == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(config(), progress)
    resumed, whole = train(config()), train(config(output_dir=str(tmp_path / "whole")))
    assert adapter_bytes(resumed.folder) == adapter_bytes(whole.folder)
    assert read_json(whole.folder / MANIFEST)["base"]["quantization"] == "nf4_experts"
    asked = EvalConfig(
        adapter=whole.folder, data_file=str(tmp_path / "validation.jsonl"), mode="score",
        output_dir=tmp_path / "eval",
    )  # fmt: skip
    assert subject(asked).config.quantization == "nf4_experts"
    evaluate(asked)
    assert any((tmp_path / "eval").rglob("report.json"))
    merged = merge(MergeConfig(adapter_path=whole.folder, output_dir=tmp_path / "merged"))
    assert merged.figures["into"] == "the dequantised 4-bit base"
    assert merged.figures["to_4bit"]["label_agreement"] == 1.0
    load_base(ModelConfig(name=str(tmp_path / "merged"), device="cpu"))
