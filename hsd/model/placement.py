"""Where a model runs and in which number format: decided here, once, and said with the reason."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from transformers import PretrainedConfig

from hsd.config.model_config import Dtype, ModelConfig
from hsd.errors import ErrorCode, PreflightError
from hsd.model import speed
from hsd.model.formats import stored
from hsd.model.launcher import USE_CPU, is_on, refuse_cpu_for_gpus, require_whole_copies


@dataclass(frozen=True, slots=True)
class Launch:
    """The processes that run this command together, as the launcher's environment says."""

    rank: int
    local_rank: int
    world_size: int

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files and prints."""
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Placement:
    """One process's device and number format."""

    device: str
    dtype: torch.dtype
    reason: str
    launch: Launch
    measured: bool = False
    """Whether the number format is what was faster here, a moment ago."""

    def facts(self) -> dict[str, Any]:
        """Return the placement for the manifest."""
        return {**asdict(self), "dtype": _name(self.dtype)}


def launch() -> Launch:
    """Return this process's place among its launcher's processes.

    Raises PreflightError when the launcher splits the base over processes, and when it was asked
    for several processes but started one, as `accelerate launch --cpu --num_processes 2` does:
    the run would silently be another one.
    """
    env = os.environ
    require_whole_copies(env)
    if "RANK" in env and "WORLD_SIZE" in env:
        return Launch(int(env["RANK"]), int(env.get("LOCAL_RANK", 0)), int(env["WORLD_SIZE"]))
    if "ACCELERATE_MIXED_PRECISION" in env and "MASTER_PORT" in env:
        raise PreflightError(
            "the launcher was asked for several processes but started one. On a CPU use "
            "`ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N -m ...` "
            "or `torchrun --nproc_per_node N -m ...`."
        )
    return Launch(0, 0, 1)


def require_several() -> None:
    """Raise PreflightError when this process was not started as one of several."""
    if launch().world_size == 1:
        raise PreflightError(
            "--use-accelerate: only one process was started; use "
            "`accelerate launch --num_processes N -m jobs.evaluate ...`, or leave the flag out."
        )


def place(config: ModelConfig) -> Placement:
    """Return where this process's model goes: one process, one device.

    The device comes from the launch, never from `device_map="auto"`, which would spread every
    rank's copy over all GPUs. Raises PreflightError for `cuda` without a GPU, and for `auto` in a
    job that asked for GPUs and sees none.
    """
    here = launch()
    device, why = _device(config.device, here)
    if device != "cpu":
        _let_memory_grow()
    dtype, why_dtype = _dtype(config.dtype, device)
    return Placement(device, dtype, f"{why}; {why_dtype}", here)


def place_to_train(
    config: ModelConfig, base: PretrainedConfig, began: str | None = None
) -> Placement:
    """Return where this process trains: `auto` on a CPU is the number format that is faster there.

    `began` is the format of a run that goes on, which keeps it: measured again it might be another
    one. Raises PreflightError as `place`.
    """
    placed = place(config)
    if placed.device != "cpu" or config.dtype != "auto":
        return placed
    if began is not None:
        return _in(placed, getattr(torch, began), f"{began}, in which this run began")
    own = stored(base)
    made_here = config.quantization in ("nf4", "nf4_experts") and own.way == "plain"
    if made_here or own.bits is not None:
        return placed  # layers in 4 bit are computed in bfloat16 as it is
    if obstacle := speed.why_not_bfloat16(base):
        return _in(placed, torch.float32, f"float32, as {obstacle}")
    return replace(_in(placed, *speed.faster(speed.time_formats(base))), measured=True)


def agreed(mine: Placement, every: Sequence[Placement]) -> Placement:
    """Return `mine` in the number format that all processes take, where it was measured.

    They wait for each other in every step, so bfloat16 has to be faster for all of them. What was
    not measured was asked for, or is how the run began, and the others follow it.
    """
    if not mine.measured or len({one.dtype for one in every}) == 1:
        return mine
    for one in every:
        if not one.measured:
            return _in(mine, one.dtype, f"{_name(one.dtype)}, as other processes have it")
    return _in(mine, torch.float32, "float32, as bfloat16 is not faster for all processes")


def _in(placed: Placement, dtype: torch.dtype, why: str) -> Placement:
    """Return a placement in another number format, with the reason for that."""
    device = placed.reason.partition("; ")[0]
    return replace(placed, dtype=dtype, reason=f"{device}; {why}")


def four_bit_compute(placement: Placement) -> torch.dtype:
    """Return what 4-bit weights are computed in: bfloat16, but where a GPU would only emulate it.

    Not the base's own format: a merge holds its base in float32 and still must round as the
    training did.
    """
    if placement.device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return placement.dtype


def _let_memory_grow() -> None:
    """Let torch's allocator grow its blocks, unless the user set it: steps differ in shape.

    torch reads the variable when CUDA is first used in the process.
    """
    if not any(name in os.environ for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")):
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def _device(asked: str, here: Launch) -> tuple[str, str]:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    launched_on_cpu = is_on(os.environ, USE_CPU)
    if asked == "cuda" and launched_on_cpu:
        raise PreflightError(
            f"model.device is cuda, but the launcher says {USE_CPU}={os.environ[USE_CPU]}; unset "
            "it, or set model.device=cpu."
        )
    if asked == "cuda" and not gpus:
        raise PreflightError(
            "model.device is cuda, but torch sees no GPU; check nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, or set model.device=auto.",
            code=ErrorCode.GPU_NOT_FOUND,
        )
    if asked == "auto" and not gpus:
        refuse_cpu_for_gpus(os.environ)
    if asked == "cpu" or not gpus:
        return "cpu", "asked for" if asked == "cpu" else "no GPU visible"
    if launched_on_cpu:
        # The Trainer would go to the CPU by itself, and take a base from the GPU along.
        return "cpu", f"the launcher says {USE_CPU}"
    if here.local_rank >= gpus:
        raise PreflightError(f"local rank {here.local_rank} has no GPU: only {gpus} visible.")
    idle = gpus - 1 if here.world_size == 1 else 0
    note = f"; {idle} more idle, use accelerate launch --num_processes {gpus}" if idle else ""
    return f"cuda:{here.local_rank}", f"GPU {here.local_rank} of {gpus}{note}"


def _dtype(asked: Dtype, device: str) -> tuple[torch.dtype, str]:
    if asked != "auto":
        return getattr(torch, asked), f"{asked} asked for"
    if device == "cpu":
        # In bfloat16 scores are off by .06 in log-odds (EXPERIMENTS.md, 9), and on CPUs without
        # AMX it is slower.
        return torch.float32, "float32 on a CPU"
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32, "float32: this GPU has no bfloat16"
    return torch.bfloat16, "bfloat16 on a GPU"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
