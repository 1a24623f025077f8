"""Of a base that sees or hears, the part that reads and writes text: it alone learns."""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from hsd.model.lora_targets import LayerNames


def beside_text(model: Any) -> list[str]:
    """Return the names of a base's parts beside its text model: what sees, hears, or joins them.

    Text gives them no gradient, but they would be counted, decayed and exported.
    """
    if model.config.get_text_config() is model.config:
        return []
    text = [model.get_decoder(), model.get_output_embeddings()]
    own = {name for name, module in model.named_modules() if any(module is part for part in text)}
    around = {name.rsplit(".", count)[0] for name in own for count in range(1, name.count(".") + 1)}
    return [
        name
        for name, _ in model.named_modules()
        if name and name not in own | around and name.rpartition(".")[0] in {"", *around}
    ]


def names_within(names: Sequence[str]) -> str | None:
    """Return what matches modules and all within them, in peft's form; None for none."""
    return "|".join(rf"{re.escape(name)}(\..*)?" for name in names) or None


def layer_names(model: Any, left_out: Sequence[str] = ()) -> LayerNames:
    """Return the names of what can learn in a base, with or without weights, `left_out` aside."""
    beside = re.compile(names_within(left_out) or r"(?!)")
    layers = [
        name
        for name, module in model.named_modules()
        if can_learn(module) and not beside.fullmatch(name)
    ]
    fused = [
        name
        for name, parameter in model.named_parameters()
        if is_fused(name, parameter) and not beside.fullmatch(name)
    ]
    family = model.config.get_text_config().model_type
    return LayerNames(family, tuple(layers), tuple(fused), _ends(model))


def _ends(model: Any) -> tuple[str, ...]:
    """Return the names of embeddings and of the head."""
    head = model.get_output_embeddings()
    modules = model.named_modules()
    return tuple(n for n, part in modules if part is head or isinstance(part, nn.Embedding))


def can_learn(module: nn.Module) -> bool:
    """Return whether a layer can have an adapter."""
    return isinstance(module, (nn.Linear, nn.Embedding, Conv1D))


def is_fused(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter holds the weights of all experts of a layer."""
    return parameter.dim() == 3 and "experts" in name and parameter.is_floating_point()
