"""What hsd claims of a GPU, each claim a test whose body runs on a CPU as well.

On a machine with a GPU: pytest -m gpu
"""

import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from devices import DEVICES
from gradients import Gradients, collected, one_by_one, relative_error
from peft import PeftModel
from small_runs import adapter_bytes

from benchmarks import self_test
from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig
from hsd.errors import Stopped
from hsd.inference.halving import in_batches
from hsd.inference.score import Candidates, log_probabilities
from hsd.inference.shared_score import SharedScore
from hsd.model.adapter import new_adapter
from hsd.model.base import Base, load_base
from hsd.model.dequantize import dequantize
from hsd.model.eval_mode import judging
from hsd.model.packing import compute_prefix
from hsd.model.recompute import recompute_activations
from hsd.prompts.render import Encoded
from hsd.training.microbatches import Form, StepPlan
from hsd.training.objective import Objective, count_losses
from hsd.training.step import Learner
from hsd.training.training_run import train

pytestmark = pytest.mark.model

PREFIX = [*range(3, 43)]
ROWS = [Encoded(f"r{n}", [*PREFIX, *range(50 + n, 60 + 2 * n)], [71, 72 + n, 73]) for n in range(6)]
IDS = torch.arange(3, 63).view(3, 20)
SPELLED = Candidates([71, 72], ([81, 82], [83]))
FAMILIES = pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss", "tiny_mxfp4"])
FORMS = pytest.mark.parametrize("form", ["alone", "with", "behind"])
TOLERANCE = 1e-4
"""Relative, in float32; TF32 is off by default, and sums are in another order."""


def loaded(folder: Path, device: str, **held: Any) -> Base:
    settings = {"name": str(folder), "device": device, "dtype": "float32"} | held
    return load_base(ModelConfig.model_validate(settings))


def adapted(base: Base) -> PeftModel:
    """Return an adapter in mid-training: of a fresh one half the gradient is 0."""
    model = new_adapter(base, LoraConfig(rank=4, dropout=0.0), seed=3)
    generator = torch.Generator().manual_seed(5)
    for name, weight in sorted(model.named_parameters()):
        if "lora_" in name:
            weight.data.copy_(torch.empty(weight.shape).normal_(std=0.05, generator=generator))
    return model.train()


def learned(model: Any, form: Form) -> tuple[float, Gradients]:
    """Return the loss and the gradients of a step of all rows, both on the CPU."""
    prefix = [] if form == "alone" else PREFIX
    pieces = [ROWS[:3], ROWS[3:]] if form == "behind" else [ROWS]
    learner = Learner(
        model, 0, Objective(), nullcontext, lambda loss: loss.backward(), lambda loss, _: loss
    )
    loss = learner.learn([StepPlan(form, prefix, pieces, 0)], count_losses(ROWS))
    return float(loss), {name: gradient.cpu() for name, gradient in collected(model).items()}


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over that of what is expected."""
    ours, theirs = (values.detach().float().cpu() for values in (found, expected))
    return float((ours - theirs).norm() / theirs.norm())


# Where it is


@DEVICES
@pytest.mark.parametrize(
    ("family", "quantization"),
    [
        ("tiny_llama", "none"), ("tiny_llama", "nf4"), ("tiny_gpt_oss", "none"),
        ("tiny_mxfp4", "auto"), ("tiny_mxfp4", "none"),
    ],
)  # fmt: skip
def test_every_weight_and_buffer_is_on_the_device(
    family: str, quantization: str, device: str, request: pytest.FixtureRequest
) -> None:
    base = loaded(request.getfixturevalue(family), device, quantization=quantization)
    model = adapted(base)
    held = [*model.named_parameters(), *model.named_buffers()]
    assert {tensor.device.type for _, tensor in held} == {device}


# What it computes


@DEVICES
@FAMILIES
@FORMS
def test_loss_and_gradients_are_those_of_a_cpu_row_by_row(
    form: Form, family: str, device: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    loss, found = learned(adapted(loaded(folder, device)), form)
    reference = adapted(loaded(folder, "cpu"))
    assert relative_error(found, one_by_one(reference, ROWS)) < TOLERANCE
    assert loss == pytest.approx(learned(reference, "alone")[0], rel=TOLERANCE)


@DEVICES
@FAMILIES
@pytest.mark.parametrize("form", ["alone", "with"])
def test_activations_computed_again_give_the_same_gradient(
    form: Form, family: str, device: str, request: pytest.FixtureRequest
) -> None:
    model = adapted(loaded(request.getfixturevalue(family), device))
    _, plain = learned(model, form)
    recompute_activations(model, on=True)
    _, again = learned(model, form)
    assert relative_error(again, plain) < TOLERANCE


@DEVICES
@FAMILIES
def test_scores_behind_a_prefix_are_those_of_a_cpu_row_by_row(
    family: str, device: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    here, reference = loaded(folder, device).model, loaded(folder, "cpu").model
    with judging(here), torch.inference_mode():
        shared = SharedScore(here, compute_prefix(here, PREFIX), SPELLED)
        found = shared.log_probabilities(ROWS)
    alone = [log_probabilities(reference, [row.prompt], SPELLED, 0) for row in ROWS]
    assert apart(found, torch.cat(alone)) < TOLERANCE


@DEVICES
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss"])
def test_self_tests_of_a_right_model_in_bfloat16_pass(
    family: str, device: str, request: pytest.FixtureRequest
) -> None:
    count = 50 if device == "cuda" else 2
    it = self_test.subject(str(request.getfixturevalue(family)), "none", count, device)
    tested = [part for rows in it.groups(count) for part in it.tested(rows).values()]
    assert len(tested) == 2 * count
    assert [part.problem for part in (*tested, *it.twins().values()) if part.problem] == []


@DEVICES
def test_attention_of_torch_gives_the_logits_of_eager_attention(
    device: str, tiny_llama: Path
) -> None:
    with torch.inference_mode():
        eager, sdpa = (
            loaded(tiny_llama, device, attention=code).model(IDS.to(device)).logits
            for code in ("eager", "sdpa")
        )
    assert apart(sdpa, eager) < TOLERANCE


# 4 bit


@DEVICES
def test_a_base_in_nf4_gives_the_logits_of_its_dequantised_weights(
    device: str, tiny_llama: Path
) -> None:
    held = {"quantization": "nf4", "dtype": "bfloat16"}
    with torch.inference_mode():
        plain = dequantize(loaded(tiny_llama, device, **held)).model(IDS.to(device)).logits
        in_4bit = loaded(tiny_llama, device, **held).model(IDS.to(device)).logits
    assert apart(in_4bit, plain) < 0.02  # of bfloat16's 8 bits


@DEVICES
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_packed_experts_give_the_logits_of_unpacked_ones(
    dtype: str, most: float, device: str, tiny_mxfp4: Path
) -> None:
    with torch.inference_mode():
        packed, unpacked = (
            loaded(tiny_mxfp4, device, quantization=held, dtype=dtype).model(IDS.to(device)).logits
            for held in ("auto", "none")
        )
    assert apart(packed, unpacked) < most


@DEVICES
def test_an_adapter_on_packed_experts_gets_the_gradients_of_one_on_unpacked_ones(
    device: str, tiny_mxfp4: Path
) -> None:
    _, packed = learned(adapted(loaded(tiny_mxfp4, device)), "with")
    _, unpacked = learned(adapted(loaded(tiny_mxfp4, device, quantization="none")), "with")
    assert relative_error(packed, unpacked) < TOLERANCE


# Runs


@DEVICES
def test_a_batch_that_does_not_fit_is_halved_until_it_does(device: str) -> None:
    at_once: list[int] = []

    def answer(rows: Any) -> int:
        torch.empty(2**50 if len(rows) > 2 else 1, dtype=torch.uint8, device=device)
        at_once.append(len(rows))
        return len(rows)

    assert sum(in_batches(range(11), 8, answer)) == 11
    assert max(at_once) == 2


@DEVICES
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_mxfp4"])
def test_a_run_that_was_stopped_and_resumed_has_the_weights_of_the_uninterrupted(
    family: str, device: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def progress(done: int, total: int, what: str) -> None:
        if what == "training" and done == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    def config(name: str) -> Any:
        model = {"device": device, "dtype": "float32"}
        base = request.getfixturevalue(family)
        return small_runs.config(base, tmp_path, model=model, output_dir=str(tmp_path / name))

    with pytest.raises(Stopped):
        train(config("run"), progress)
    resumed, whole = train(config("run")), train(config("whole"))
    assert adapter_bytes(resumed.folder) == adapter_bytes(whole.folder)
