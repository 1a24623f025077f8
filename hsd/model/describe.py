"""What was really loaded: numbers for the manifest and for `--test_connection`."""

import hashlib
from typing import Any

import torch
from torch import nn

from hsd.model.load import Base
from hsd.model.quantization import quantized_share, true_numel
from hsd.runs import sha256_json, sha256_text


def describe(base: Base) -> dict[str, Any]:
    """Return name, revision, size, format and placement of a base."""
    model = base.model
    return {
        **identity(base),
        "architecture": type(model).__name__,
        "parameters": sum(true_numel(p) for p in model.parameters()),
        "footprint_gb": round(model.get_memory_footprint() / 1e9, 4),
        "quantization_reason": base.quantization.reason,
        "quantized_share": round(quantized_share(model), 4),
        "attention": model.config._attn_implementation,
        "placement": base.placement.facts(),
    }


def trainable(model: nn.Module) -> dict[str, Any]:
    """Return how many parameters learn, and their share of all."""
    learning = sum(true_numel(p) for p in model.parameters() if p.requires_grad)
    total = sum(true_numel(p) for p in model.parameters())
    return {"trainable_parameters": learning, "trainable_share": learning / total}


def identity(base: Base) -> dict[str, Any]:
    """Return what makes two bases the same model for an adapter."""
    template = base.tokenizer.chat_template
    return {
        "name": base.source.name,
        "revision": base.source.revision,
        "model_type": base.model.config.model_type,
        "shape_sha256": sha256_json(_shape(base.model.config)),
        "weights_sha256": weights_fingerprint(base.model),
        "chat_template_sha256": sha256_text(str(template)),
        "quantization": base.quantization.method,
        "double_quantization": base.quantization.double,
        "compute_dtype": base.quantization.compute_dtype,
        "dtype": str(base.placement.dtype).removeprefix("torch."),
    }


def weights_fingerprint(model: Any) -> str:
    """Return a digest of the norms and the first rows of the embedding, in bfloat16.

    Neither is ever quantised or adapted, and they differ between any two trained models, so a few
    kilobytes tell one base from another whatever number format it was loaded in.
    """
    norms = [p for name, p in model.named_parameters() if p.dim() == 1 and "norm" in name]
    embedding = model.get_input_embeddings().weight[:8]
    digest = hashlib.sha256()
    for values in (*norms, embedding):
        half = values.detach().to("cpu", torch.bfloat16).contiguous()
        digest.update(half.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _shape(config: Any) -> dict[str, Any]:
    keys = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    return {key: getattr(config, key, None) for key in keys}
