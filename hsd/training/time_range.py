"""How long a training takes, as a range: operations over what devices do. An estimate."""

from dataclasses import dataclass

from hsd.model.base_shape import BaseShape
from hsd.training.planned_devices import PlannedDevices

FORMULA = (
    "steps x (2 x active parameters x tokens + 4 x layers x heads x head width x token pairs) x "
    "passes / (peak operations x share of the peak)"
)
GPU_TFLOPS = ((20.0, 65.0), (36.0, 125.0), (float("inf"), 312.0))
"""Memory in GB up to which -> dense 16-bit peak: a T4, an A10, an A100, of their data sheets."""
CORE_TFLOPS = 0.086
"""Of one CPU core in float32, measured."""
SHARES = {"dense": (0.10, 0.40), "experts": (0.03, 0.15), "CPU": (0.30, 1.00)}
"""Least and largest share of the peak that a training reaches. The CPU's is measured; those of GPUs
are from publications and by calculation: hsd has measured no GPU yet."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A training's hours, and what they are calculated from."""

    shortest_h: float
    longest_h: float
    peak_tflops: float
    shares: tuple[float, float]
    passes: int
    dora: bool = False

    @property
    def assumptions(self) -> str:
        """What the range rests on, in a sentence."""
        low, high = (f"{share:.0%}" for share in self.shares)
        passes = "forward, backward" if self.passes == 2 else "forward, forward again, backward"
        return (
            f"Assumed: {self.passes} passes ({passes}), a peak of {self.peak_tflops:g} TFLOPS a "
            f"device, and {low} to {high} of it in use. "
            "Loading, validation and checkpoints are not counted."
            + (" DoRA is slower than LoRA, which is not counted either." if self.dora else "")
        )


def time_range(
    shape: BaseShape,
    tokens: float,
    pairs: float,
    steps: int,
    devices: PlannedDevices,
    passes: int,
    *,
    dora: bool = False,
) -> TimeRange:
    """Return how long `steps` take, each with so many tokens and pairs on one device."""
    operations = steps * step_operations(shape, tokens, pairs, passes)
    kind = "CPU" if not devices.is_gpu else "experts" if shape.experts else "dense"
    peak, (low, high) = _peak(devices), SHARES[kind]
    hours = operations / (peak * 1e12) / 3600
    return TimeRange(hours / high, hours / low, peak, (low, high), passes, dora)


def step_operations(shape: BaseShape, tokens: float, pairs: float, passes: int) -> float:
    """Return the operations of a step on one device, as FORMULA counts them."""
    linear = 2 * shape.active_parameters * tokens
    attention = 4 * shape.layers * shape.heads * shape.head_width * pairs
    return (linear + attention) * passes


def _peak(devices: PlannedDevices) -> float:
    if not devices.is_gpu:
        return round(CORE_TFLOPS * devices.cores, 3)
    memory = devices.memory_gb or float("inf")
    return next(peak for most, peak in GPU_TFLOPS if memory <= most)
