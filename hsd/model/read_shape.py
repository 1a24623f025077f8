"""The sizes of a base, read from its config: the model is made without memory for its weights."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PretrainedConfig

from hsd.model.base_shape import BaseShape, FusedShape, LinearShape
from hsd.model.families import attention_for
from hsd.model.lora_targets import last_name
from hsd.model.nf4_experts import expert_count
from hsd.model.quantization import skeleton
from hsd.model.text_model import beside_text, is_fused


def read_shape(config: PretrainedConfig, attention: str = "auto", device: str = "cpu") -> BaseShape:
    """Return the sizes of a base. Raises ModelError for an attention that it does not have."""
    hollow = skeleton(config)
    text: Any = config.get_text_config()
    first: Any = getattr(text, "per_layer_config", [text])[0]
    heads = first.num_attention_heads
    linear = _linear(hollow)
    experts = expert_count(config)
    sizes = [p.numel() for p in hollow.parameters()]
    return BaseShape(
        family=text.model_type,
        hidden=first.hidden_size,
        layers=text.num_hidden_layers,
        heads=heads,
        key_heads=getattr(first, "num_key_value_heads", None) or heads,
        head_width=getattr(first, "head_dim", None) or first.hidden_size // heads,
        inner=_inner(first, bool(experts)),
        vocabulary=text.vocab_size,
        parameters=sum(sizes),
        linear_parameters=sum(one.inputs * one.outputs * one.count for one in linear),
        fused_parameters=sum(p.numel() for p in hollow.parameters() if p.dim() >= 3),
        largest=max(sizes),
        experts=experts,
        experts_per_token=getattr(text, "num_experts_per_tok", 0) or 0 if experts else 0,
        head_norms=any(name.endswith("q_norm") for name, _ in hollow.named_modules()),
        eager=attention_for(hollow, attention, device).code == "eager",
        linear=_linear(hollow, beside_text(hollow)),
        fused=_fused(hollow, beside_text(hollow)),
    )


def _linear(hollow: Any, without: Sequence[str] = ()) -> tuple[LinearShape, ...]:
    """Return the linear layers but the head by name and size, `without` parts of the base."""
    head, paths = hollow.get_output_embeddings(), defaultdict[tuple[str, int, int], list[str]](list)
    for name, module in hollow.named_modules():
        if isinstance(module, nn.Linear) and module is not head and not _is_within(name, without):
            paths[last_name(name), module.in_features, module.out_features].append(name)
    return tuple(LinearShape(*key, len(own), tuple(own)) for key, own in paths.items())


def _fused(hollow: Any, without: Sequence[str]) -> tuple[FusedShape, ...]:
    """Return the fused experts by name and size."""
    paths = defaultdict[tuple[str, int, int, int], list[str]](list)
    for name, parameter in hollow.named_parameters():
        if is_fused(name, parameter) and not _is_within(name, without):
            experts, inputs, outputs = parameter.shape
            paths[last_name(name), experts, inputs, outputs].append(name)
    # Experts with inputs and outputs the other way round have as many of both together.
    return tuple(FusedShape(n, i, o, tuple(own)) for (_, n, i, o), own in paths.items())


def _is_within(name: str, parts: Sequence[str]) -> bool:
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


def _inner(config: Any, has_experts: bool) -> int:
    inner = getattr(config, "moe_intermediate_size", None) if has_experts else None
    inner = inner or getattr(config, "intermediate_size", None)
    return inner if isinstance(inner, int) else 4 * int(config.hidden_size)
