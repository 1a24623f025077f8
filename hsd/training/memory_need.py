"""The memory of a whole training and of an evaluation, part by part. No torch is loaded here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hsd.model.base_shape import BaseShape
from hsd.model.memory_parts import (
    BUFFER_ROOM,
    FLOAT32,
    AdapterShape,
    Held,
    Piece,
    activations_bytes,
    backward_bytes,
    base_bytes,
    dequantized_bytes,
    kv_bytes,
    layer_bytes,
    loading_bytes,
    logits_bytes,
)
from hsd.training.planned_devices import PlannedDevices

DEQUANTIZED = "experts of a layer, dequantised"
LIBRARIES = "libraries and reserve"
LIBRARIES_GB = {True: 1.0, False: 0.7}
"""What a process takes before a weight is read: on a GPU CUDA's context and libraries and what its
allocator cannot use, on a CPU Python and torch. On a CPU measured; on a GPU from publications."""


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One part of the memory, in bytes."""

    name: str
    bytes: float


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What one process needs at its peak. The parts add up to it."""

    parts: tuple[MemoryPart, ...]
    on_gpu: bool

    @property
    def tensors_gb(self) -> float:
        """Of all parts together: what torch allocates."""
        return sum(part.bytes for part in self.parts) / 1e9

    @property
    def libraries_gb(self) -> float:
        """What a process takes beside them."""
        return LIBRARIES_GB[self.on_gpu]

    @property
    def total_gb(self) -> float:
        """With what the libraries take."""
        return self.tensors_gb + self.libraries_gb


@dataclass(frozen=True, slots=True)
class Computed:
    """How a base is held and computed, and what is trained on it."""

    shape: BaseShape
    held: Held
    adapter: AdapterShape
    on_gpu: bool
    recomputes: bool = False

    @property
    def adapter_parameters(self) -> int:
        """Parameters that learn."""
        return self.adapter.parameters


def training_need(how: Computed, pieces: Sequence[Piece]) -> MemoryNeed:
    """Return the memory of a training whose pieces are these, at its largest piece."""
    shape, held, learned = how.shape, how.held, how.adapter_parameters * FLOAT32
    largest = max((_piece_parts(how, piece) for piece in pieces), key=_sum)
    return MemoryNeed(
        (
            MemoryPart("base weights", base_bytes(shape, held)),
            MemoryPart("adapter", learned),
            MemoryPart("gradients of the adapter", learned),
            MemoryPart("optimiser (AdamW)", 2 * learned),
            *largest,
        ),
        how.on_gpu,
    )


def chosen(
    how: Computed, asked: bool | Literal["auto"], pieces: Sequence[Piece], devices: PlannedDevices
) -> Computed:
    """Return how a training is computed there: `auto` keeps activations where they fit well.

    A run finds out by rehearsal, and can always turn to the smaller need. With experts in NF4
    (hsd/model/nf4_experts.py) there is no choice.
    """
    if how.held.method == "nf4_experts":
        return replace(how, recomputes=True)
    if asked != "auto":
        return replace(how, recomputes=asked)
    kept = replace(how, recomputes=False)
    fit = devices.fits(training_need(kept, pieces).total_gb)
    enough = ("yes",) if devices.is_gpu else ("yes", "tight", "unknown")
    return kept if fit in enough else replace(how, recomputes=True)


def loading_gb(how: Computed, stored_bytes_each: int) -> float:
    """Return what loading takes at its peak, without the libraries.

    A CPU that converts the weights has the pages of their files in memory too.
    """
    shape, held = how.shape, how.held
    beside = loading_bytes(shape.largest, held.method)
    if not how.on_gpu and stored_bytes_each != held.bytes_each:
        beside += shape.parameters * stored_bytes_each
    return (base_bytes(shape, held) + beside) / 1e9


def evaluation_need(how: Computed, prefix: int, rows: Sequence[int], reply: int) -> MemoryNeed:
    """Return the memory of an evaluation that writes replies behind a shared prefix.

    `rows` are the tokens of one batch's prompts behind the prefix, `reply` those of one reply.
    """
    shape, held = how.shape, how.held
    seen = prefix + sum(rows)
    new = Piece(sum(rows), seen, len(rows))
    cached = round(BUFFER_ROOM * (seen + len(rows) * reply))
    return MemoryNeed(
        (
            MemoryPart("base weights", base_bytes(shape, held)),
            MemoryPart("adapter", how.adapter_parameters * FLOAT32),
            MemoryPart("keys and values of the prefix", kv_bytes(shape, prefix, held.bytes_each)),
            MemoryPart("KV cache of a batch", kv_bytes(shape, cached, held.bytes_each)),
            MemoryPart("one layer at work", layer_bytes(shape, how.adapter, held, new, how.on_gpu)),
            MemoryPart("logits", logits_bytes(shape, new)),
            MemoryPart(DEQUANTIZED, dequantized_bytes(shape, held)),
        ),
        how.on_gpu,
    )


def _piece_parts(how: Computed, piece: Piece) -> tuple[MemoryPart, ...]:
    shape, held = how.shape, how.held
    kept = activations_bytes(shape, how.adapter, held, piece, how.on_gpu, how.recomputes)
    # Keys and values in the graph, and the gradients that they collect over the pieces.
    prefix_kv = 2 * kv_bytes(shape, piece.prefix, held.bytes_each)
    logits = logits_bytes(shape, piece)
    backward = backward_bytes(shape, held, piece, how.adapter.opened)
    # The logits are gone when a layer's backward runs; the larger of the two is the peak.
    return (
        MemoryPart("activations of a piece", kept),
        MemoryPart("keys and values of the prefix", prefix_kv),
        MemoryPart("logits and their gradients", logits),
        MemoryPart("backward, beyond the logits", max(0.0, backward - logits)),
        MemoryPart(DEQUANTIZED, dequantized_bytes(shape, held)),
    )


def _sum(parts: Sequence[MemoryPart]) -> float:
    return sum(part.bytes for part in parts)
