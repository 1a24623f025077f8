"""Where a model runs and in which number format: decided here, once, and said with the reason."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hsd.config.model import Dtype, ModelConfig
from hsd.errors import PreflightError


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

    def facts(self) -> dict[str, Any]:
        """Return the placement for the manifest."""
        return {**asdict(self), "dtype": str(self.dtype).removeprefix("torch.")}


def launch() -> Launch:
    """Return this process's place among its launcher's processes.

    Raises PreflightError when a launcher was asked for several processes but started one, as
    `accelerate launch --cpu --num_processes 2` does: the run would silently be another one.
    """
    env = os.environ
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
            "--use_accelerate: only one process was started; use "
            "`accelerate launch --num_processes N -m jobs.evaluate ...`, or leave the flag out."
        )


def place(config: ModelConfig) -> Placement:
    """Return where this process's model goes: one process, one device.

    The device comes from the launch, never from `device_map="auto"`, which would spread every
    rank's copy over all GPUs. Raises PreflightError for `cuda` without a GPU.
    """
    here = launch()
    device, why = _device(config.device, here)
    if device != "cpu":
        _let_memory_grow()
    dtype, why_dtype = _dtype(config.dtype, device)
    return Placement(device, dtype, f"{why}; {why_dtype}", here)


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
    if asked == "cuda" and not gpus:
        raise PreflightError(
            "model.device is cuda, but torch sees no GPU; check nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, or set model.device=auto."
        )
    if asked == "cpu" or not gpus:
        return "cpu", "asked for" if asked == "cpu" else "no GPU visible"
    if here.local_rank >= gpus:
        raise PreflightError(f"local rank {here.local_rank} has no GPU: only {gpus} visible.")
    idle = gpus - 1 if here.world_size == 1 else 0
    note = f"; {idle} more idle, use accelerate launch --num_processes {gpus}" if idle else ""
    return f"cuda:{here.local_rank}", f"GPU {here.local_rank} of {gpus}{note}"


def _dtype(asked: Dtype, device: str) -> tuple[torch.dtype, str]:
    if asked != "auto":
        return getattr(torch, asked), f"{asked} asked for"
    if device == "cpu":
        # bfloat16 is many times slower than float32 on CPUs without AMX, and the same adapter
        # should come out of any CPU.
        return torch.float32, "float32 on a CPU"
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32, "float32: this GPU has no bfloat16"
    return torch.bfloat16, "bfloat16 on a GPU"
