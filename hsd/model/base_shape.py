"""What memory and time are worked out from: a base's sizes, without its weights and without torch.

Sizes are numbers (elements), not bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsd.model.lora_targets import LayerNames, LoraTargets, ending, pattern_value

ATTENTION = "q_proj"
"""What `LinearShape.reads` says of all that read what attention reads."""
_READ_TOGETHER = ((ATTENTION, "k_proj", "v_proj", "qkv_proj"), ("gate_proj", "up_proj"))
"""Linear layers that read the same numbers, so that autograd keeps these numbers once."""


@dataclass(frozen=True, slots=True)
class LinearShape:
    """Linear layers of one name, such as all `q_proj`: their sizes and how many there are."""

    name: str
    inputs: int
    outputs: int
    count: int
    paths: tuple[str, ...] = ()
    """Their full names, where these are known."""

    def ranks(self, rank: int, pattern: Mapping[str, int] | None = None) -> int:
        """Return the ranks of an adapter on all of them, added up."""
        if not pattern:
            return rank * self.count
        return sum(pattern_value(pattern, path, rank) for path in self.paths)

    @property
    def reads(self) -> str:
        """The name of what the layer reads; layers with the same one read the same numbers."""
        together = (names for names in _READ_TOGETHER if self.name in names)
        return next(together, (self.name,))[0]


@dataclass(frozen=True, slots=True)
class FusedShape:
    """Parameters of fused experts of one name: their sizes, and one full name for each layer."""

    experts: int
    inputs: int
    outputs: int
    paths: tuple[str, ...]

    @property
    def numbers(self) -> int:
        """Of one layer."""
        return self.experts * self.inputs * self.outputs

    def ranks(self, rank: int, pattern: Mapping[str, int] | None = None) -> int:
        """Return the ranks of an adapter on all experts of all layers, added up."""
        return self.experts * sum(pattern_value(pattern, path, rank) for path in self.paths)


@dataclass(frozen=True, slots=True)
class BaseShape:
    """The sizes of a base."""

    family: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    inner: int
    """Width inside a feed-forward layer, or inside one expert."""
    vocabulary: int
    parameters: int
    linear_parameters: int
    """In linear layers but the head: what bitsandbytes puts into 4 bit."""
    fused_parameters: int = 0
    """In fused experts: what MXFP4 packs."""
    largest: int = 0
    """Numbers of the largest parameter."""
    experts: int = 0
    experts_per_token: int = 0
    """0 for a dense base."""
    head_norms: bool = False
    """Whether queries and keys have a norm of their own (Qwen3, Gemma 3)."""
    eager: bool = False
    """Whether attention keeps its scores: torch's own attention does not."""
    linear: tuple[LinearShape, ...] = ()
    fused: tuple[FusedShape, ...] = ()

    @property
    def names(self) -> LayerNames:
        """The full names of what can learn, but for embedding and head."""
        layers = (path for one in self.linear for path in one.paths)
        fused = (path for one in self.fused for path in one.paths)
        return LayerNames(self.family, tuple(layers), tuple(fused))

    def reached(self, targets: LoraTargets) -> list[FusedShape]:
        """Return the fused experts that an adapter is put on."""
        return [one for one in self.fused if ending(one.paths, targets.parameters)]

    @property
    def active_parameters(self) -> float:
        """Parameters that one token meets: of the experts those that it is sent to."""
        met = self.experts_per_token / self.experts if self.experts else 0.0
        return self.linear_parameters + self.fused_parameters * met

    def targets(self, names: Sequence[str] | str) -> list[LinearShape]:
        """Return the linear layers that an adapter is put on; `all-linear` for all of them."""
        if names == "all-linear":
            return list(self.linear)
        return [one for one in self.linear if one.name in names]

    def adapter_parameters(self, rank: int, names: Sequence[str] | str) -> int:
        """Return how many parameters an adapter of this rank has."""
        sizes = ((one.inputs + one.outputs) * one.count for one in self.targets(names))
        return rank * sum(sizes)
