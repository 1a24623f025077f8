"""Whether memory is enough, asked before a byte is read, and whether an error says that it was not.

torch has no one error for it: its own allocator raises OutOfMemoryError, a failing CUDA call
AcceleratorError, cuBLAS, cuDNN, NCCL and the host's allocator a bare RuntimeError.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from hsd.errors import ErrorCode, HsdError, PreflightError
from hsd.model.doctor_probes import memory_gb, swap_gb
from hsd.model.memory_parts import loading_bytes
from hsd.model.placement import Placement
from hsd.model.quantization import PACKED, Quantization, held_bytes

_MEANS_MEMORY = re.compile(
    r"out of memory|can't allocate memory|ALLOC_FAILED|MemoryAllocation"
    r"|(?:cudnn|nccl|cublas)\D*(?:failed|unable) to allocate|failed to cuda \w*alloc",
    re.IGNORECASE,
)
_ON_A_GPU = re.compile(r"cuda|cudnn|nccl|cublas", re.IGNORECASE)
PIECE_TOKENS = 1024
"""Of a piece of rows, for the room that its activations take: a small one."""
ANSWER_TOKENS = 64
"""Places whose logits are kept: the whole vocabulary in float32, and as much for their softmax."""


def is_memory_error(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a device or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _MEANS_MEMORY.search(str(error)) is not None


def memory_code(error: BaseException) -> ErrorCode:
    """Return whose memory ran out: the GPU's, or that of the machine."""
    on_gpu = isinstance(error, torch.OutOfMemoryError) or _ON_A_GPU.search(str(error))
    return ErrorCode.CUDA_OUT_OF_MEMORY if on_gpu else ErrorCode.HOST_OUT_OF_MEMORY


@contextmanager
def memory_error_as(line: HsdError) -> Iterator[None]:
    """Within the block, memory that runs out raises `line` with its code; other errors pass."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory_error(error):
            raise
        line.code = memory_code(error)
        raise line from None


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a base takes: its weights, what loading adds to them, one piece's activations."""

    held: float
    loading: float
    piece: float

    @property
    def gb(self) -> float:
        """The most at one time: what loading takes is free again when a piece is computed."""
        return (self.held + max(self.loading, self.piece)) / 1e9


def need_of(hollow: Any, how: Quantization, dtype: torch.dtype) -> Need:
    """Return what a base without weights (quantization.skeleton) will take; rough, and too little
    rather than too much, so that nothing which works is refused."""
    sizes = [p.numel() for p in hollow.parameters()]
    return Need(
        held=held_bytes(hollow, how.bits, dtype),
        loading=loading_bytes(max(sizes, default=0), how.method),
        piece=_piece_bytes(hollow.config.get_text_config(), dtype),
    )


def require_room(
    name: str, need: Need, free_gb: float, where: str, in_4bit: Need | None = None
) -> None:
    """Raise PreflightError when a base cannot fit into what is free.

    `in_4bit` is what it would need there; None where it takes no 4 bit.
    """
    if need.gb <= free_gb:
        return
    ways = ["take a machine with more memory" if where == "cpu" else "take a GPU with more memory"]
    if in_4bit is not None and in_4bit.gb <= free_gb:
        ways.insert(0, f"set model.quantization=nf4 (about {_gb(in_4bit.gb)} GB)")
    if where != "cpu":
        ways.append("end what else runs on it")
    has = (
        f"this machine or container has {_gb(free_gb)}"
        if where == "cpu"
        else (f"{_gb(free_gb)} are free")
    )
    raise PreflightError(
        f"model '{name}': does not fit on {where}: it needs about {_gb(need.gb)} GB "
        f"({_gb(need.held / 1e9)} for its weights), and {has}; "
        f"{', '.join(ways)}, or take a smaller base."
    )


def free_gb(placement: Placement, how: Quantization, stored: torch.dtype | None) -> float | None:
    """Return the memory that a base may take where it goes; None where it is not asked.

    On a CPU weights that keep their format stay in their file and are only mapped, so only those
    that are converted are held against what this process may use at all, swap included: a base that
    would run, however slowly, is not refused.
    """
    if placement.device == "cpu":
        mapped = how.method in ("none", PACKED) and stored == placement.dtype
        own = memory_gb()
        return None if mapped or own is None else own + swap_gb()
    free, _ = torch.cuda.mem_get_info(placement.device)
    # What torch keeps of models that are gone is free for the next one, but not for the driver.
    kept = torch.cuda.memory_reserved(placement.device)
    return float(free + kept - torch.cuda.memory_allocated(placement.device)) / 1e9


def _piece_bytes(text: Any, dtype: torch.dtype) -> float:
    """Return what one piece takes with recomputing: each layer's input, one layer's inside."""
    hidden = getattr(text, "hidden_size", 0) or 0
    layers = getattr(text, "num_hidden_layers", 0) or 0
    inside = 4 * hidden + 3 * (getattr(text, "intermediate_size", 0) or 0)
    logits = 2 * ANSWER_TOKENS * (getattr(text, "vocab_size", 0) or 0) * 4
    return float(PIECE_TOKENS * (layers * hidden + inside) * dtype.itemsize + logits)


def _gb(value: float) -> str:
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"
