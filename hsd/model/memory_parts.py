"""How many bytes each part of a training or an evaluation takes, from sizes alone.

One place for these facts: `hsd plan`, the check before a base is loaded, and the check of the disk
use the same. What autograd keeps was read with saved_tensors_hooks (transformers 5.23, peft 0.21,
torch 2.13), and whole trainings are measured in benchmarks/plan_memory.py. No torch is loaded here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsd.model.base_shape import ATTENTION, BaseShape, FusedShape, LinearShape

FLOAT32 = 4
CHECKPOINT_BYTES = 12
"""Of each adapter parameter in a checkpoint: the weight and both moments of AdamW, in float32."""
LOGIT_COPIES = 3
"""Whole vocabularies in float32 for each answer token: the log-probabilities, their gradient and
the gradient of the logits."""
MXFP4_BITS = 4.25
"""Of a number in packed experts: 4 bits, and a scale of 8 bits for each 32 numbers."""
UNPACKING = 4
"""Copies of the largest experts, in 16 bit, while MXFP4 is unpacked: indices, two halves and a
transposed one (transformers 5.23, integrations/mxfp4.py); measured 3-5 GB on gpt-oss-20b."""
BUFFER_ROOM = 1.25
"""How much larger than needed a buffer of keys and values is made, so that few tokens make it be
copied."""
NF4_BLOCK = 64
_CONSTANT_BYTES = {True: 1.1, False: 4.0}
"""Of a block's constant, with and without double quantisation."""
_KEPT_BY_GATE = {"gpt_oss": 6}
"""Widths of an expert that its activation keeps: clamped halves, sigmoid and products."""
_MADE_BY_GATE = {"gpt_oss": 4}
"""Widths of an expert whose gradients are there at one time."""
_KEPT_BY_SILU = 3
"""The same for silu(gate) * up, in an expert and in a dense layer."""
SCORES_AT_ONCE = 2.5
"""Copies of one layer's attention scores beside the kept one, where attention is eager. Measured
with activations computed again: 2.3."""


@dataclass(frozen=True, slots=True)
class Held:
    """How weights are held and computed."""

    method: str
    """As Quantization.method says: `none`, `dequantized`, `nf4`, `nf4_experts`, `fp4`, `packed`."""
    bytes_each: int = 2
    """Of a number that is not in 4 bit, and of what is computed with it: 2 or 4."""
    double: bool = True
    """Whether the constants of 4-bit blocks are quantised too."""


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """What decides how much an adapter keeps for its gradient."""

    rank: int
    targets: Sequence[LinearShape]
    dropout: float
    fused: Sequence[FusedShape] = ()
    rank_pattern: Mapping[str, int] | None = None
    dora: bool = False

    @property
    def parameters(self) -> int:
        """Parameters that learn: two matrices a layer or expert, and DoRA's lengths of outputs."""
        learning: list[LinearShape | FusedShape] = [*self.targets, *self.fused]
        matrices = sum(
            one.ranks(self.rank, self.rank_pattern) * (one.inputs + one.outputs) for one in learning
        )
        return matrices + self.dora * sum(one.outputs * one.count for one in self.targets)

    @property
    def opened(self) -> int:
        """Numbers of the experts that one layer's adapter adds its update to, in each forward."""
        return sum(one.numbers for one in self.fused)


@dataclass(frozen=True, slots=True)
class Piece:
    """The size of one forward and backward."""

    tokens: int
    keys: int
    """Tokens that each token may look at."""
    logits: int
    """Answer tokens: each has logits."""
    prefix: int = 0
    """Tokens of a shared prefix that stays in the graph while the piece is computed."""
    lines: int = 1
    """Rows that are padded to one length; packed rows are one line."""


def weights_bytes(parameters: int, in_4bit: int, double: bool, bytes_each: int) -> float:
    """Return what weights take when bitsandbytes puts `in_4bit` of them into 4 bit."""
    each = 0.5 + _CONSTANT_BYTES[double] / NF4_BLOCK
    return in_4bit * each + (parameters - in_4bit) * bytes_each


def base_bytes(shape: BaseShape, held: Held) -> float:
    """Return what a base's weights take."""
    if held.method == "packed":
        rest = shape.parameters - shape.fused_parameters
        return shape.fused_parameters * MXFP4_BITS / 8 + rest * held.bytes_each
    in_4bit = shape.linear_parameters if held.method in ("nf4", "nf4_experts", "fp4") else 0
    in_4bit += shape.fused_parameters if held.method == "nf4_experts" else 0
    return weights_bytes(shape.parameters, in_4bit, held.double, held.bytes_each)


def dequantized_bytes(shape: BaseShape, held: Held) -> float:
    """Return what one layer's experts take while they are computed, where they are in NF4."""
    layers = shape.layers if held.method == "nf4_experts" else 0
    return shape.fused_parameters / layers * held.bytes_each if layers else 0.0


def loading_bytes(largest: int, method: str) -> int:
    """Return what loading takes beside the weights: the largest parameter, in 16 bit or packed."""
    if method == "packed":
        return round(largest * MXFP4_BITS / 8)
    return (UNPACKING if method == "dequantized" else 1) * largest * 2


def checkpoints_gb(adapter_parameters: int, kept: int) -> float:
    """Return the disk that checkpoints take: those kept, one in the making and the best."""
    return adapter_parameters * CHECKPOINT_BYTES * (kept + 2) / 1e9


def kv_bytes(shape: BaseShape, tokens: int, bytes_each: int) -> int:
    """Return the keys and values of so many tokens, in all layers."""
    return 2 * shape.layers * shape.key_heads * shape.head_width * tokens * bytes_each


def logits_bytes(shape: BaseShape, piece: Piece) -> int:
    """Return the logits of a piece's answers, their softmax and gradient."""
    return LOGIT_COPIES * piece.logits * shape.vocabulary * FLOAT32


def layer_bytes(
    shape: BaseShape, adapter: AdapterShape, held: Held, piece: Piece, on_gpu: bool
) -> float:
    """Return what one layer keeps of a piece for its backward."""
    each = held.bytes_each
    # 1. Two norms keep what they read, in float32.
    token = 2.0 * shape.hidden * FLOAT32
    # 2. The feed-forward layer or the experts, and what the adapter reads.
    token += _feed_forward(shape) * each + _adapter_numbers(adapter, held, on_gpu)
    # 3. Experts that learn: their weights with the update added, whatever the tokens.
    opened = adapter.opened * each if piece.tokens else 0
    return token * piece.tokens + attention_bytes(shape, held, piece) + opened


def attention_bytes(shape: BaseShape, held: Held, piece: Piece) -> float:
    """Return what the attention of one layer keeps of a piece, adapters aside."""
    each, width = held.bytes_each, shape.heads * shape.head_width
    # 1. The queries and, where the scores are not kept, the result.
    token = width * each * (1.0 if shape.eager else 2.0)
    if shape.head_norms:  # norms of queries and keys keep what they read, in float32
        token += (shape.heads + shape.key_heads) * shape.head_width * FLOAT32
    # 2. Keys and values, repeated for each query head, and scores or the mask.
    seen = 2 * _repeated_width(shape) * each * piece.keys * piece.lines
    return token * piece.tokens + seen + _scores(shape, held) * piece.tokens * piece.keys


def activations_bytes(
    shape: BaseShape,
    adapter: AdapterShape,
    held: Held,
    piece: Piece,
    on_gpu: bool,
    recomputes: bool,
) -> float:
    """Return what all layers keep of a piece and of the prefix that stays beside it."""

    def kept(piece: Piece, layers: int) -> float:
        whole = layer_bytes(shape, adapter, held, piece, on_gpu)
        unlearned = piece.tokens * _unlearned(shape, adapter, on_gpu)
        if not adapter.targets:  # experts alone: nothing learns before the first layer's attention
            unlearned += attention_bytes(shape, held, piece)
        return layers * whole - unlearned

    before = Piece(piece.prefix, piece.prefix, 0)
    if recomputes:
        input_bytes = shape.layers * shape.hidden * held.bytes_each
        work = input_bytes * piece.tokens + layer_bytes(shape, adapter, held, piece, on_gpu)
        # The prefix's layers are computed again when the last piece is gone.
        work = max(work, layer_bytes(shape, adapter, held, before, on_gpu))
        return input_bytes * piece.prefix + work
    # Of the prefix only keys and values are used, so nothing of its last layer is kept.
    return kept(piece, shape.layers) + max(0.0, kept(before, shape.layers - 1))


def backward_bytes(shape: BaseShape, held: Held, piece: Piece, opened: int = 0) -> float:
    """Return what one layer's backward takes for a moment, beside what is kept.

    Experts that learn (`opened` numbers) have a gradient as large as themselves.
    """
    width, each = shape.heads * shape.head_width, held.bytes_each
    copies = shape.experts_per_token or 1
    feed = copies * (_gates(shape, _MADE_BY_GATE) * shape.inner + shape.hidden) + shape.hidden
    inside = float(max(feed, 4 * width + 2 * shape.hidden) * piece.tokens * each) + opened * each
    if not shape.eager:
        return inside
    scores = SCORES_AT_ONCE * shape.heads * piece.tokens * piece.keys * each
    # The feed-forward layer is behind it then, and what that kept is free.
    return max(inside, scores - _feed_forward(shape) * piece.tokens * each)


def _gates(shape: BaseShape, known: Mapping[str, int]) -> int:
    return known.get(shape.family, _KEPT_BY_SILU) if shape.experts_per_token else _KEPT_BY_SILU


def _feed_forward(shape: BaseShape) -> int:
    """Return the numbers that one token's feed-forward layer keeps."""
    inside = _gates(shape, _KEPT_BY_GATE) * shape.inner
    if not shape.experts_per_token:
        return inside
    return shape.experts_per_token * (inside + shape.hidden)  # and each expert's result


def _unlearned(shape: BaseShape, adapter: AdapterShape, on_gpu: bool) -> float:
    """Return the bytes of a token that the first layer keeps less: nothing before it learns."""
    before = shape.hidden * FLOAT32
    if not adapter.dropout:
        return before
    at = [one.inputs for one in adapter.targets if one.reads == ATTENTION]
    return before + sum(at) * (1 if on_gpu else FLOAT32)


def _adapter_numbers(adapter: AdapterShape, held: Held, on_gpu: bool) -> float:
    """Return the bytes that one token's adapter matrices keep in one layer."""
    each = held.bytes_each
    ranks = (one.ranks(adapter.rank, adapter.rank_pattern) / one.count for one in adapter.targets)
    total = float(sum(ranks)) * each
    if adapter.dora:  # what the base and what the matrices make of the input, to be scaled
        total += 2 * sum(one.outputs for one in adapter.targets) * each
    if adapter.dropout:
        # What is left of the input, and which of it: float32 on a CPU, a byte on a GPU.
        noise = 1 if on_gpu else FLOAT32
        return total + sum(one.inputs * (each + noise) for one in adapter.targets)
    if each < FLOAT32:  # each makes a 16-bit copy of its own
        return total + sum(one.inputs * each for one in adapter.targets)
    return total + each * sum({one.reads: one.inputs for one in adapter.targets}.values())


def _repeated_width(shape: BaseShape) -> int:
    """Return the width of keys as attention keeps them: one head for all is only looked at."""
    heads = shape.heads if shape.key_heads > 1 else 1
    return heads * shape.head_width


def _scores(shape: BaseShape, held: Held) -> float:
    """Return the bytes that a layer keeps for one token looking at another."""
    if not shape.eager:
        return held.bytes_each  # the mask, as numbers
    if shape.family == "gpt_oss":
        return shape.heads * held.bytes_each
    softmax = FLOAT32 if held.bytes_each < FLOAT32 else 0  # computed in float32, then rounded
    return shape.heads * (held.bytes_each + softmax)
