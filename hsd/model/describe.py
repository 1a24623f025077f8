"""What was really loaded: numbers for the manifest and for `--test-connection`."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hsd.hub.weight_files import bytes_digest, weight_files
from hsd.io.hashes import sha256_json, sha256_text
from hsd.model.base import Base, BaseFiles
from hsd.model.formats import stored
from hsd.model.quantization import quantized_share, true_numel


def describe_base(base: Base) -> dict[str, Any]:
    """Return name, revision, size, format and placement of a base."""
    model = base.model
    return {
        **weights_identity(base),
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


def weights_identity(base: Base) -> dict[str, Any]:
    """Return what makes two bases the same model for an adapter."""
    template = base.tokenizer.chat_template
    return {
        "name": base.source.name,
        "revision": base.source.revision,
        "model_type": base.model.config.model_type,
        "shape_sha256": sha256_json(_shape(base.model.config)),
        "weights_sha256": weights_fingerprint(base.model),
        **files_identity(base.source),
        "chat_template_sha256": sha256_text(str(template)),
        "quantization": base.quantization.method,
        "double_quantization": base.quantization.double,
        "compute_dtype": base.quantization.compute_dtype,
        "dtype": str(base.placement.dtype).removeprefix("torch."),
    }


def files_identity(source: BaseFiles) -> dict[str, str | None]:
    """Return a digest of the bytes of a base's weight files, and the form that they are in.

    `files_sha256` is None where the files are not to be found. Two forms of one base, such as its
    4-bit checkpoint and its original, have other bytes: digests of one form alone are compared.
    """
    files = weight_files(source.weights_in) if source.weights_in else []
    dtype = str(getattr(source.config, "dtype", None)).removeprefix("torch.")
    is_gguf = any(file.suffix == ".gguf" for file in files)
    form = "GGUF" if is_gguf else f"{stored(source.config).kind}, {dtype}"
    return {"files_sha256": bytes_digest(files), "files_form": form}


def has_other_files(source: BaseFiles, recorded: Mapping[str, Any]) -> bool:
    """Return whether a base's weight files are others than a manifest recorded of it.

    False where either is not known: an earlier hsd recorded none.
    """
    known, here = recorded.get("files_sha256"), files_identity(source)["files_sha256"]
    return known is not None and here is not None and known != here


def weights_fingerprint(model: Any) -> str:
    """Return a digest of the norms and the first rows of the embedding, in bfloat16.

    Neither is ever quantised or adapted, so they are alike in all forms of a base; and in what an
    adapter was merged into, which `files_identity` tells from it.
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
