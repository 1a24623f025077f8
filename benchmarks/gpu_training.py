"""Optimiser steps of a random base, timed, and their memory beside what `hsd plan` says."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.gpu_peak import peak_of
from benchmarks.random_bases import Random, forget, made
from hsd.config.train_config import LoraConfig, TrainConfig, TrainingConfig
from hsd.model.adapter import new_adapter
from hsd.model.families import attention_for
from hsd.model.recompute import recompute_activations
from hsd.prompts.render import Encoded
from hsd.training.microbatches import StepPlan, length
from hsd.training.objective import Objective, count_losses
from hsd.training.planned_base import devices_here
from hsd.training.planned_devices import PlannedDevices
from hsd.training.planned_rows import planned_rows
from hsd.training.prefix_sharing import first_steps
from hsd.training.run_plan import RunPlan, plan_run, planned_computing
from hsd.training.step import Learner
from hsd.training.step_size import computed_pairs, computed_tokens, piece_sizes
from hsd.training.time_range import step_operations

Row = dict[str, Any]
USEFUL_PASSES = 2
"""Forward and backward of frozen weights. A forward that is computed again is no useful work."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compute a step."""

    sharing: str
    recomputes: bool
    attention: Literal["auto", "flex"] = "auto"
    """`auto` is sdpa, or eager where a family has none: what an evaluation takes."""

    @property
    def name(self) -> str:
        again = "on" if self.recomputes else "off"
        code = ", flex attention" if self.attention == "flex" else ""
        return f"sharing {self.sharing}, checkpointing {again}{code}"


VARIANTS = (
    Variant("on", True), Variant("off", True), Variant("on", False), Variant("on", False, "flex"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a variant is timed, and with how many rows a step."""

    seconds: float
    steps: int
    batch_size: int


def train_rows(base: Random, device: str, limit: Limit, work: Path) -> Iterator[Row]:
    """Yield a row for each variant; one that fails is a row with its error."""
    model = _adapted(base, device)
    for variant in VARIANTS:
        forget()
        if variant.attention == "flex" and device == "cpu":
            yield {"variant": variant.name, "skipped": "flex attention has no gradient on a CPU"}
            continue
        yield attempt(variant.name, lambda v=variant: _row(base, model, v, device, limit, work))  # type: ignore[misc]


def attempt(name: str, measure: Callable[[], Row]) -> Row:
    """Return what is measured under its name, or the error: the others are still to come."""
    try:
        return {"variant": name, **measure()}
    except Exception as error:  # whatever a first run on a card may meet
        said = " ".join(str(error).split())[:300]
        return {"variant": name, "error": f"{type(error).__name__}: {said}"}


def _adapted(base: Random, device: str) -> Any:
    model = new_adapter(made(base, device), LoraConfig(), seed=1)
    return model.train()


def _row(base: Random, model: Any, variant: Variant, device: str, limit: Limit, work: Path) -> Row:
    plan, steps = planned_steps(base, variant, device, limit, work)
    inner = model.get_base_model()
    inner.set_attn_implementation(attention_for(inner, variant.attention, device).library_name)
    recompute_activations(model, on=variant.recomputes)
    seconds, losses = _timed(model, [works for _, works in steps], limit, device)
    return {**_speed(plan, steps, seconds, device), "loss": losses[-1], **_memory(plan, device)}


def planned_steps(
    base: Random, variant: Variant, device: str, limit: Limit, work: Path
) -> tuple[RunPlan, list[tuple[list[Encoded], list[StepPlan]]]]:
    """Return the plan of a variant, and the rows of its first steps with how they are learned."""
    config = TrainConfig(
        model=base.written(work).model_copy(update={"attention": variant.attention}),
        training=TrainingConfig(
            batch_size=limit.batch_size,
            accumulation=4,
            prefix_sharing=variant.sharing,
            gradient_checkpointing=variant.recomputes,
        ),
        output_dir=work / "unused",
    )
    devices = devices_here() if device != "cpu" else PlannedDevices(1, 8, is_gpu=False)
    plan = plan_run(config, devices)
    rows = planned_rows(config, None, None).train
    computing = planned_computing(config, plan.base, rows)
    return plan, [(own, computing.work(own)) for own in first_steps(config, rows)]


def _timed(
    model: Any, steps: Sequence[list[StepPlan]], limit: Limit, device: str
) -> tuple[list[float], list[float]]:
    """Return each step's seconds but for the first one's, and all losses."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser, seconds, losses = torch.optim.AdamW(learning, lr=1e-4), [], []
    for number, works in enumerate(steps[: limit.steps + 1]):
        began = time.monotonic()
        losses.append(_step(model, works, device))
        optimiser.step()
        optimiser.zero_grad()
        wait(device)
        if number:
            seconds.append(time.monotonic() - began)
        if sum(seconds) > limit.seconds:
            break
    return seconds, losses


def _step(model: Any, works: list[StepPlan], device: str) -> float:
    rows = [row for work in works for piece in work.pieces for row in piece]
    learner = Learner(
        model,
        0,
        Objective(),
        lambda: nullcontext() if device == "cpu" else torch.autocast("cuda", torch.bfloat16),
        lambda loss: loss.backward(),
        lambda loss, _: loss,
    )
    return float(learner.learn(works, count_losses(rows)))


def peak_tflops(device: str) -> float | None:
    """Return the peak of a device; None of a CPU, and of a GPU that is not known here."""
    return None if device == "cpu" else peak_of(torch.cuda.get_device_name())


def wait(device: str) -> None:
    """Wait for what a GPU was given to do."""
    if device != "cpu":
        torch.cuda.synchronize()


def _speed(
    plan: RunPlan,
    steps: Sequence[tuple[list[Encoded], list[StepPlan]]],
    seconds: Sequence[float],
    device: str,
) -> Row:
    taken = steps[1 : len(seconds) + 1]  # what the seconds are of
    spent, count = sum(seconds), len(seconds)
    tokens = sum(computed_tokens(works) for _, works in taken)
    pairs = sum(computed_pairs(works) for _, works in taken)
    peak = peak_tflops(device)
    useful = step_operations(plan.base.how.shape, tokens, pairs, USEFUL_PASSES)
    return {
        "weights": plan.base.how.held.method,
        "steps": count,
        "rows_per_step": len(taken[0][0]),
        "seconds_per_step": spent / count,
        "rows_per_s": sum(len(rows) for rows, _ in taken) / spent,
        "row_tokens_per_s": sum(length(row) for rows, _ in taken for row in rows) / spent,
        "computed_tokens_per_s": tokens / spent,
        "tflops": useful / spent / 1e12,
        "mfu": useful / spent / 1e12 / peak if peak else None,
        "pieces_per_step": sum(len(piece_sizes(works)) for _, works in taken) / count,
        "form": sorted({work.form for _, works in taken for work in works}),
    }


def _memory(plan: RunPlan, device: str) -> Row:
    """Return the peak of what torch allocated beside the plan's; None on a CPU."""
    planned = plan.training.tensors_gb
    if device == "cpu":
        return {"plan_gb": planned, "peak_gb": None, "plan_by_peak": None}
    peak = torch.cuda.max_memory_allocated() / 1e9
    return {"plan_gb": planned, "peak_gb": peak, "plan_by_peak": planned / peak}
