"""Which layers and experts of a base learn: the names of a config, held against the base's own."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hsd.config.train_config import LoraConfig, TargetNames
from hsd.errors import ModelError, did_you_mean
from hsd.model.family_table import family_of

_ATTENTION = re.compile(r"(^|[._])(self_)?attn|attention", re.I)
"""How the modules of attention are called in families that are not in the table."""


@dataclass(frozen=True, slots=True)
class LayerNames:
    """The full names of what can learn in a base's text model."""

    family: str
    """The `model_type` of the text model."""
    layers: tuple[str, ...]
    """Linear layers, embedding and head."""
    fused: tuple[str, ...] = ()
    """Parameters of fused experts."""
    ends: tuple[str, ...] = ()
    """Those of the layers that `all-linear` leaves out: embedding and head."""

    def known(self) -> list[str]:
        """Return the last names of all layers."""
        return sorted({last_name(layer) for layer in self.layers})

    def fused_ends(self) -> list[str]:
        """Return the names that fused experts are called by, such as `experts.down_proj`."""
        return sorted({".".join(path.split(".")[-2:]) for path in self.fused})


@dataclass(frozen=True, slots=True)
class LoraTargets:
    """What learns, in peft's form: ends of names."""

    modules: tuple[str, ...] | Literal["all-linear"]
    parameters: tuple[str, ...] = ()


def last_name(path: str) -> str:
    """Return the last part of a layer's full name: `q_proj`."""
    return path.rpartition(".")[2]


def resolve_targets(lora: LoraConfig, names: LayerNames, base: str) -> LoraTargets:
    """Return what a config's targets stand for in a base.

    Raises ModelError for a name that stands for nothing in it, for a pattern that matches nothing
    that learns, and for patterns that give one layer two values. Single layers in a list are held
    against the base where it is loaded.
    """
    targets = LoraTargets(
        _modules(lora.target_modules, names, base), _parameters(lora, names, base)
    )
    learning = [*_reached(targets.modules, names), *ending(names.fused, targets.parameters)]
    for setting in ("rank_pattern", "alpha_pattern"):
        pattern = getattr(lora, setting) or {}
        _require_matches(setting, pattern, learning)
        _require_one_value(setting, pattern, learning)
    return targets


def require_open_experts(lora: LoraConfig, quantization: str, base: str) -> None:
    """Raise ModelError for experts that are to learn while they are held in 4 bit."""
    held = {"packed": "stay packed in MXFP4", "nf4_experts": "are in NF4"}.get(quantization)
    if lora.learns_experts and held:
        raise ModelError(
            f"lora: the experts of {base} {held} and cannot learn. Set model.quantization=none, or "
            "leave target_parameters and target_modules experts out."
        )


def pattern_value(pattern: Mapping[str, int] | None, path: str, otherwise: int) -> int:
    """Return what a pattern says of a layer; the first that matches counts, as in peft."""
    found = (value for end, value in (pattern or {}).items() if matches(end, path))
    return next(found, otherwise)


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern is the end of a full name, at a dot."""
    return re.match(rf"(.*\.)?({pattern})$", path) is not None


def ending(paths: Iterable[str], ends: Sequence[str]) -> list[str]:
    """Return the full names that end in one of the given names, at a dot."""
    return [path for path in paths if any(f".{path}".endswith(f".{end}") for end in ends)]


def _modules(
    asked: tuple[str, ...] | TargetNames, names: LayerNames, base: str
) -> tuple[str, ...] | Literal["all-linear"]:
    if not isinstance(asked, str):
        return asked
    if asked == "all-linear":
        return "all-linear"
    if asked == "experts":
        return ()
    return _of_attention(asked == "qv", names, base)


def _of_attention(qv: bool, names: LayerNames, base: str) -> tuple[str, ...]:
    """Return the layers of attention, or those of queries and values."""
    family, here = family_of(names.family), _attention_layers(names)
    if family:
        wanted = family.qv if qv else family.all_attention
    else:
        wanted = tuple(name for name in ("q_proj", "v_proj") if name in here) if qv else here
    if not wanted or (qv and len(wanted) < 2) or not set(wanted) <= set(names.known()):
        raise ModelError(
            f"lora.target_modules={'qv' if qv else 'attention'}: {base} has no such layers of "
            f"their own (in its attention: {', '.join(here) or 'none'}). Set lora.target_modules="
            f"{'attention' if qv and here else 'all-linear'}, or a list of layers."
        )
    return wanted


def _attention_layers(names: LayerNames) -> tuple[str, ...]:
    """Return the last names of layers that stand in attention and nowhere else."""
    inside = {last_name(path) for path in names.layers if _in_attention(path)}
    outside = {last_name(path) for path in names.layers if not _in_attention(path)}
    return tuple(sorted(inside - outside))


def _in_attention(path: str) -> bool:
    return _ATTENTION.search(path.rpartition(".")[0]) is not None


def _parameters(lora: LoraConfig, names: LayerNames, base: str) -> tuple[str, ...]:
    if not lora.learns_experts:
        return ()
    known = names.fused_ends()
    if not known:
        raise ModelError(
            f"lora: {base} has no fused experts that could learn. Set lora.target_modules="
            "all-linear or a list of layers, and leave lora.target_parameters out."
        )
    asked = lora.target_parameters or ()
    for name in asked:
        if not ending(names.fused, [name]):
            raise ModelError(
                f"lora.target_parameters: '{name}' are no fused experts of {base}."
                + did_you_mean(name, known)
            )
    return tuple(sorted({*asked, *(known if lora.target_modules == "experts" else ())}))


def _reached(modules: tuple[str, ...] | str, names: LayerNames) -> Iterable[str]:
    if isinstance(modules, str):
        return (path for path in names.layers if path not in names.ends)
    return ending(names.layers, modules)


def _require_matches(setting: str, pattern: Mapping[str, float], learning: Sequence[str]) -> None:
    for end in pattern:
        if not any(matches(end, path) for path in learning):
            known = {last_name(path) for path in learning}
            raise ModelError(
                f"lora.{setting}: '{end}' matches nothing that learns." + did_you_mean(end, known)
            )


def _require_one_value(setting: str, pattern: Mapping[str, float], learning: Sequence[str]) -> None:
    """The first key that matches counts, so the order of the keys would decide in silence."""
    for path in learning:
        found = [(end, value) for end, value in pattern.items() if matches(end, path)]
        other = next((one for one in found if one[1] != found[0][1]), None)
        if other:
            (first, value), (second, another) = found[0], other
            raise ModelError(
                f"lora.{setting}: '{first}' ({value:g}) and '{second}' ({another:g}) both match "
                f"{path}. Give both the same value, or write keys that match different layers, "
                "such as layers.0.*k_proj and layers.[1-9].*k_proj."
            )
