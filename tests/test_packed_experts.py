"""Experts in MXFP4 answer and learn as the unpacked ones, and are never unpacked for longer."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from asked import Asked
from gradients import collected, relative_error
from small_runs import adapter_bytes
from torch.autograd.graph import saved_tensors_hooks
from transformers import GptOssConfig
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from hsd.config.evaluate_config import EvalConfig
from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig
from hsd.errors import ModelError, PreflightError, Stopped
from hsd.evaluation.subject import subject
from hsd.io.json_reader import read_json
from hsd.io.manifest import MANIFEST
from hsd.model import memory, mxfp4
from hsd.model.adapter import export_adapter, load_adapter, new_adapter
from hsd.model.base import load_base
from hsd.model.describe import describe_base
from hsd.model.memory import need_of
from hsd.model.mxfp4 import expert_products, tables, unpack
from hsd.model.packed_experts import PackedExperts
from hsd.model.quantization import Quantization, held_bytes, skeleton
from hsd.training.training_plan import STAYS_PACKED, plan_training
from hsd.training.training_run import train

pytestmark = pytest.mark.model

IDS = torch.arange(3, 43).view(2, 20)
FORMATS = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def loaded(folder: Path, quantization: str, dtype: str = "float32") -> Any:
    held = ModelConfig(name=str(folder), device="cpu", dtype=dtype, quantization=quantization)
    return load_base(held)


def learned(
    folder: Path, quantization: str, dtype: str = "float32", *, recompute: bool = False
) -> Any:
    """Return an adapter's gradients after one forward and backward pass."""
    base = loaded(folder, quantization, dtype)
    model = new_adapter(base, LoraConfig(rank=4, dropout=0.0), seed=3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(5))
    model.train()
    if recompute:
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}
        )
    model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    return collected(model)


# What it computes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_every_byte_and_scale_is_unpacked_as_transformers_does_it(dtype: torch.dtype) -> None:
    blocks = torch.arange(256, dtype=torch.uint8).view(1, 4, 4, 16)
    scales = torch.tensor([0, 1, 2, 60, 119, 123, 126, 127, 128, 131, 140, 190, 200, 240, 250, 254])
    scales = scales.to(torch.uint8).view(1, 4, 4)
    theirs = convert_moe_packed_tensors(blocks, scales, dtype=dtype)[0]
    using = tables(dtype, blocks.device)
    assert torch.equal(unpack(blocks[0], scales[0], using), theirs.t())


@FORMATS
def test_a_packed_base_gives_the_logits_of_the_unpacked_one(dtype: str, tiny_mxfp4: Path) -> None:
    """To the bit where a product is summed alike; another CPU may sum it otherwise."""
    with torch.inference_mode():
        packed, unpacked = (
            loaded(tiny_mxfp4, held, dtype).model(input_ids=IDS).logits for held in ("auto", "none")
        )
    assert unpacked.std() > 0.01
    off = (packed.float() - unpacked.float()).norm() / unpacked.float().norm()
    assert off <= {"float32": 1e-5, "bfloat16": 2e-2}[dtype]


@pytest.mark.parametrize("recompute", [False, True])
def test_an_adapter_on_a_packed_base_gets_the_gradients_of_the_unpacked_one(
    recompute: bool, tiny_mxfp4: Path
) -> None:
    found = learned(tiny_mxfp4, "auto", recompute=recompute)
    assert relative_error(found, learned(tiny_mxfp4, "none")) <= 5e-6


@pytest.mark.parametrize(("dtype", "allowed"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_in_16_bit_the_gradients_are_those_of_the_unpacked_base_too(
    dtype: str, allowed: float, tiny_mxfp4: Path
) -> None:
    """Measured: no difference; what is allowed is what the format itself is off by."""
    found, expected = (learned(tiny_mxfp4, held, dtype) for held in ("auto", "none"))
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    assert relative_error(found, expected) <= allowed


def test_experts_that_get_no_token_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []

    def noted(blocks: torch.Tensor, *rest: Any) -> torch.Tensor:
        unpacked.append(int(blocks[0, 0, 0]))
        return unpack(blocks, *rest)

    monkeypatch.setattr(mxfp4, "unpack", noted)
    blocks = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 8, 1, 16).contiguous()
    scales = torch.full((4, 8, 1), 127, dtype=torch.uint8)
    rows = torch.ones(3, 32, requires_grad=True)
    expert_products(rows, blocks, scales, [2, 0, 1, 0]).sum().backward()
    assert unpacked == [0, 2, 0, 2]  # forward and backward


def test_a_packed_base_replies_as_the_unpacked_one(tiny_mxfp4: Path) -> None:
    packed, unpacked = (loaded(tiny_mxfp4, held).model for held in ("auto", "none"))
    row = torch.tensor([Asked(tiny_mxfp4).rows[0].prompt])
    asked = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(packed.generate(row, **asked), unpacked.generate(row, **asked))


# What it holds


def largest_saved(experts: Any, hidden: int, chosen: torch.Tensor) -> int:
    """Return the bytes of the largest tensor that autograd saves for one token's backward."""
    sizes: list[int] = []

    def note(saved: torch.Tensor) -> torch.Tensor:
        sizes.append(saved.numel() * saved.element_size())
        return saved

    states = torch.ones(1, hidden, requires_grad=True)
    shares = torch.full(chosen.shape, 0.5)
    with saved_tensors_hooks(note, lambda saved: saved):
        experts(states, chosen, shares).sum().backward()
    assert states.grad is not None
    return max(sizes)


def test_nothing_as_large_as_an_expert_is_saved_for_the_backward_pass(tiny_mxfp4: Path) -> None:
    def saved(held: str) -> int:
        base = loaded(tiny_mxfp4, held)
        layer = base.model.model.layers[0].mlp.experts
        return largest_saved(layer, base.model.config.hidden_size, torch.tensor([[0, 2]]))

    expert = 32 * 32 // 2  # the smaller one's bytes, packed
    assert saved("auto") < expert
    assert saved("none") > 8 * expert  # as the law would notice


def test_packed_experts_are_frozen_parameters_and_no_buffers(tiny_mxfp4: Path) -> None:
    model = loaded(tiny_mxfp4, "auto").model
    layers = [module for module in model.modules() if isinstance(module, PackedExperts)]
    assert len(layers) == 2
    for layer in layers:
        held = dict(layer.named_parameters())
        assert sum(weight.dtype == torch.uint8 for weight in held.values()) == 4
        assert not any(weight.requires_grad for weight in held.values())
        assert not list(layer.buffers())


def test_the_manifest_says_how_the_experts_are_held_and_counts_their_numbers(
    tiny_mxfp4: Path,
) -> None:
    packed, unpacked = (describe_base(loaded(tiny_mxfp4, held)) for held in ("auto", "none"))
    assert (packed["quantization"], unpacked["quantization"]) == ("packed", "dequantized")
    assert packed["parameters"] == unpacked["parameters"]
    experts = 2 * 4 * (32 * 64 + 32 * 32)
    assert packed["quantized_share"] == round(experts / packed["parameters"], 4)
    assert packed["footprint_gb"] < unpacked["footprint_gb"]
    assert packed["weights_sha256"] == unpacked["weights_sha256"]


@pytest.mark.parametrize(("layers", "experts", "most"), [(24, 32, 13.8), (36, 128, 65.5)])
def test_a_released_gpt_oss_takes_as_much_as_its_files(
    layers: int, experts: int, most: float
) -> None:
    config = GptOssConfig(num_hidden_layers=layers, num_local_experts=experts)
    packed = skeleton(config, "packed")
    gigabytes = held_bytes(packed, None, torch.bfloat16) / 1e9
    assert 0.98 * most < gigabytes <= most
    assert need_of(packed, Quantization("packed", ""), torch.bfloat16).gb < most + 4


def test_where_an_unpacked_base_has_no_room_the_packed_one_is_named(
    tiny_mxfp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs(held: str) -> float:
        method = "packed" if held == "auto" else "dequantized"
        hollow = skeleton(loaded(tiny_mxfp4, "auto").source.config, method)
        return need_of(hollow, Quantization(method, ""), torch.float32).gb

    free = (needs("auto") + needs("none")) / 2
    monkeypatch.setattr(memory, "memory_gb", lambda: free)
    monkeypatch.setattr(memory, "swap_gb", lambda: 0.0)
    assert loaded(tiny_mxfp4, "auto").quantization.method == "packed"
    with pytest.raises(PreflightError, match=r"set model\.quantization=nf4 \(about "):
        loaded(tiny_mxfp4, "none")


# Runs


@pytest.fixture
def config(tiny_mxfp4: Path, tmp_path: Path) -> Callable[..., Any]:
    return lambda **parts: small_runs.config(tiny_mxfp4, tmp_path, **parts)


def test_a_run_on_packed_experts_says_so_and_4_bit_of_an_older_config_means_them(
    config: Callable[..., Any],
) -> None:
    plan = plan_training(config(model={"quantization": "nf4"}))
    assert STAYS_PACKED in plan.notes()
    assert plan.numbers["quantization"] == "packed"
    assert STAYS_PACKED not in plan_training(config()).notes()


def test_4_bit_of_packed_experts_decides_nothing_about_the_number_format(
    config: Callable[..., Any],
) -> None:
    reasons = {
        plan_training(config(model={"quantization": held})).placement.reason
        for held in ("nf4", "auto")
    }
    assert reasons == {"asked for; float32, as its own weights are not in bfloat16"}


def test_a_run_on_packed_experts_that_was_stopped_and_resumed_equals_the_uninterrupted(
    config: Callable[..., Any], tmp_path: Path
) -> None:
    def progress(done: int, total: int, what: str) -> None:
        if what == "training" and done == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(config(), progress)
    resumed, whole = train(config()), train(config(output_dir=str(tmp_path / "whole")))
    assert adapter_bytes(resumed.folder) == adapter_bytes(whole.folder)
    base = read_json(whole.folder / MANIFEST)["base"]
    assert (base["quantization"], base["quantized_share"] > 0.2) == ("packed", True)


def test_a_run_that_began_unpacked_goes_on_unpacked(config: Callable[..., Any]) -> None:
    made = train(config(model={"quantization": "none"}))
    assert read_json(made.folder / MANIFEST)["base"]["quantization"] == "dequantized"
    assert plan_training(config()).numbers["quantization"] == "dequantized"
    assert train(config()).skipped


def test_an_adapter_that_learned_inside_of_experts_needs_them_unpacked(
    tiny_mxfp4: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    unpacked = loaded(tiny_mxfp4, "none")
    inside = PeftLora(r=2, target_modules=["q_proj"], target_parameters=["experts.down_proj"])
    model = get_peft_model(unpacked.model, inside)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.5)
    export_adapter(model, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"experts are packed in MXFP4\. Set model\.quant"):
        load_adapter(loaded(tiny_mxfp4, "auto"), tmp_path / "adapter")
    load_adapter(loaded(tiny_mxfp4, "none"), tmp_path / "adapter")
    asked = EvalConfig(model=ModelConfig(name=str(tiny_mxfp4)), adapter=tmp_path / "adapter")
    assert subject(asked).config.quantization == "none"
