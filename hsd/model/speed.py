"""Which number format a training is faster in on this CPU, measured in a fraction of a second.

What a CPU's instructions promise is not what a step takes. With AMX single products are 6 times as
fast in bfloat16, but whole steps 1.4 times; with AVX512-BF16 alone steps are slower, and without
either many times slower.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch.nn.functional import linear, scaled_dot_product_attention, silu
from transformers import PretrainedConfig

FORMATS = (torch.float32, torch.bfloat16)
MARGIN = 1.2
"""How much faster bfloat16 has to be. A whole step gains about half as much: there is more between
its products, and kernels of bfloat16 are made anew for rows of another length."""

LEAST_HIDDEN = 256
"""Narrower bases are not measured: their products are too small to gain (.1 to 1.0 times)."""
MOST_HIDDEN, MOST_INNER = 576, 1536
"""Wider ones are measured as this, which takes .3 s on one core. They gain more, not less."""
RANK, HEAD = 16, 64
TOKENS, MOST_TOKENS = 256, 1024
"""For each thread, and at most: with less to do, threads would only wait for each other."""
ROUNDS = 3

HOPELESS = 2.0
"""Where bfloat16 takes so many times as long, no more is measured: that could take seconds. Single
products, measured: .3 with AMX, 1.5 with AVX512-BF16 alone, 3.5 with AVX-512, 7 with AVX2."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of a core that the same work took in each number format."""

    float32: float
    bfloat16: float

    @property
    def gain(self) -> float:
        """How many times as fast bfloat16 is."""
        return self.float32 / self.bfloat16

    @property
    def is_hopeless(self) -> bool:
        """Whether bfloat16 is so slow that no closer look is worth its time."""
        return self.gain < 1 / HOPELESS


def faster(timed: Timings) -> tuple[torch.dtype, str]:
    """Return the number format to train in, and why."""
    if timed.gain >= MARGIN:
        said = f"bfloat16, {timed.gain:.2f} times as fast as float32 on this CPU (half a layer)"
        return torch.bfloat16, said
    said = f"float32, as bfloat16 is {timed.gain:.2f} times as fast on this CPU (half a layer)"
    return torch.float32, said


def why_not_bfloat16(base: PretrainedConfig) -> str | None:
    """Return why a base is trained in float32 however fast bfloat16 is here; None where it is not.

    A base is never rounded without being asked: what is judged is judged in float32.
    """
    if getattr(base, "dtype", None) != torch.bfloat16:
        return "its own weights are not in bfloat16"
    if _hidden(base) < LEAST_HIDDEN:
        return "its layers are too narrow to gain from bfloat16"
    return None


def time_formats(base: PretrainedConfig) -> Timings:
    """Return what a piece of a training step takes, of layers as wide as the base's."""
    inner = getattr(base.get_text_config(), "intermediate_size", None)
    return time_layers(_hidden(base), inner if isinstance(inner, int) else MOST_INNER)


def time_layers(hidden: int = MOST_HIDDEN, inner: int = MOST_INNER) -> Timings:
    """Return what a piece of a training step takes, of layers this wide.

    Half a layer, forward and backward: frozen weights with an adapter beside them, a norm, masked
    attention. Nothing random is drawn, so that a run is the same with and without.
    """
    hidden, inner = min(hidden, MOST_HIDDEN), min(inner, MOST_INNER)
    product = _interleaved(lambda dtype: _product(hidden, dtype))
    if product.is_hopeless:
        return product
    layers = {dtype: _HalfLayer(hidden, inner, dtype) for dtype in FORMATS}
    return _interleaved(lambda dtype: layers[dtype].step())


def _hidden(base: PretrainedConfig) -> int:
    return getattr(base.get_text_config(), "hidden_size", None) or 0


def _interleaved(work: Callable[[torch.dtype], None]) -> Timings:
    """Return the least of some rounds; the first is left out, in which kernels are made."""
    for dtype in FORMATS:
        work(dtype)
    least = Timings(inf, inf)
    for _ in range(ROUNDS):
        exact, coarse = (_seconds(work, dtype) for dtype in FORMATS)
        least = Timings(min(least.float32, exact), min(least.bfloat16, coarse))
        if least.is_hopeless:
            break
    return least


def _seconds(work: Callable[[torch.dtype], None], dtype: torch.dtype) -> float:
    # Of this thread, which takes part in all that is computed: what else runs here does not count.
    started = time.thread_time()
    work(dtype)
    return max(time.thread_time() - started, 1e-9)


def _product(hidden: int, dtype: torch.dtype) -> None:
    linear(torch.ones(64, hidden, dtype=dtype), torch.ones(hidden, hidden, dtype=dtype))


class _HalfLayer:
    """Three of a layer's seven projections, each with an adapter, and what is between them."""

    def __init__(self, hidden: int, inner: int, dtype: torch.dtype) -> None:
        self.dtype, self.hidden = dtype, hidden
        self.heads = max(1, hidden // HEAD)
        self.tokens = min(TOKENS * torch.get_num_threads(), MOST_TOKENS)
        self.norm = torch.ones(hidden, dtype=dtype)
        self.mask = torch.ones(self.tokens, self.tokens, dtype=torch.bool).tril()
        shapes = ((hidden, hidden), (inner, hidden), (hidden, inner))
        self.projections = [_Projection(out, into, dtype) for out, into in shapes]
        self.learning = [m for p in self.projections for m in (p.down, p.up)]

    def step(self) -> None:
        """Compute forward and backward once."""
        values = torch.linspace(-1, 1, self.tokens * self.hidden).view(self.tokens, self.hidden)
        states = values.to(self.dtype).requires_grad_()  # (tokens, hidden)
        with torch.enable_grad():
            with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                out = self._forward(states)
            torch.autograd.grad(out.float().square().mean(), [states, *self.learning])

    def _forward(self, states: torch.Tensor) -> torch.Tensor:
        asked, wider, back = self.projections
        heads = asked(self._normed(states)).view(1, self.tokens, self.heads, -1).transpose(1, 2)
        seen = scaled_dot_product_attention(heads, heads, heads, attn_mask=self.mask)
        states = states + seen.transpose(1, 2).reshape(self.tokens, self.hidden)
        inner = wider(self._normed(states))
        return states + back(silu(inner) * inner)

    def _normed(self, states: torch.Tensor) -> torch.Tensor:
        exact = states.float()
        exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + 1e-6)
        return self.norm * exact.to(self.dtype)


class _Projection:
    """A frozen layer in one number format, and its adapter in float32, as peft computes them."""

    def __init__(self, out: int, into: int, dtype: torch.dtype) -> None:
        self.weight = torch.full((out, into), 1 / into, dtype=dtype)
        self.down = torch.full((RANK, into), 1 / into, requires_grad=True)
        self.up = torch.full((out, RANK), 1 / RANK, requires_grad=True)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        learned = linear(linear(states.to(self.down.dtype), self.down), self.up)
        return linear(states, self.weight) + 2 * learned.to(self.weight.dtype)
