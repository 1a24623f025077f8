"""Bases of real shapes with random weights, made on the device: no file, no network."""

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import nn
from transformers import AutoModelForCausalLM, GptOssConfig, LlamaConfig, PretrainedConfig

from benchmarks import packed_checkpoint
from benchmarks.packed_checkpoint import random_weight
from hsd.config.model_config import ModelConfig
from hsd.model.base import Base
from hsd.model.families import attention_for
from hsd.model.head import give_float32_logits
from hsd.model.packed_experts import pack
from hsd.model.placement import Placement, four_bit_compute, place
from hsd.model.quantization import PACKED, Quantization, nf4_config, skeleton

LLAMA_8B: dict[str, Any] = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
}
LLAMA_TINY = LLAMA_8B | {
    "vocab_size": 4096,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@dataclass(frozen=True, slots=True)
class Random:
    """A base that is made up: its config, and how its weights are held."""

    name: str
    config: PretrainedConfig
    method: str

    def written(self, folder: Path) -> ModelConfig:
        """Write the config, which is all that `hsd plan` reads; return how it is asked for."""
        if self.method == PACKED:
            self.config.quantization_config = {"quant_method": "mxfp4"}
        place_of = folder / f"{self.name}-config"
        self.config.save_pretrained(place_of)
        if self.method == PACKED:
            del self.config.quantization_config
        quantization: Any = "auto" if self.method == PACKED else self.method
        return ModelConfig(name=str(place_of), quantization=quantization)


def random_bases(*, tiny: bool) -> dict[str, Random]:
    """Return the bases that are measured, or tiny ones of the same families."""
    dense = LlamaConfig(**(LLAMA_TINY if tiny else LLAMA_8B))
    shape = packed_checkpoint.TINY if tiny else packed_checkpoint.TRUE
    experts = GptOssConfig(**shape)
    names = ("tiny-llama", "tiny-gpt-oss") if tiny else ("llama-8b", "gpt-oss-20b")
    return {
        "llama": Random(names[0], dense, "nf4"),
        "gpt-oss": Random(names[1], experts, PACKED),
    }


def made(base: Random, device: str) -> Base:
    """Return a base with random weights on a device, each held as a training holds it."""
    dtype = "float32" if device == "cpu" else "bfloat16"
    placement = place(ModelConfig(name=base.name, device=device, dtype=dtype))
    attention = attention_for(skeleton(base.config), "auto", device).code
    with init_empty_weights():  # buffers, such as those of positions, are real
        model: Any = AutoModelForCausalLM.from_config(
            base.config, dtype=placement.dtype, attn_implementation=attention
        )
    if base.method == PACKED:
        pack(model)
    if base.method == "nf4":
        _put_into_nf4(model, placement)
    _fill(model, placement)
    if hasattr(model.config, "output_router_logits"):
        model.config.output_router_logits = False
    give_float32_logits(model)
    model.requires_grad_(False)
    bits = nf4_config(double=True) if base.method == "nf4" else None
    source: Any = NoFiles(base.config, base.name)
    return Base(model.eval(), source, placement, Quantization(base.method, "made up", None, bits))


@dataclass(frozen=True, slots=True)
class NoFiles:
    """Stands for the files of a base that has none."""

    config: Any
    name: str = "made/up"
    revision: str | None = None


def _put_into_nf4(model: Any, placement: Placement) -> None:
    """Replace linear layers but the head, one at a time: never two whole copies."""
    head = model.get_output_embeddings()
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    for name, layer in layers:
        if layer is not head:
            model.set_submodule(name, _in_nf4(name, layer, placement))
    model.is_loaded_in_4bit = True  # what peft looks at
    gc.collect()


def _in_nf4(name: str, layer: nn.Linear, placement: Placement) -> Linear4bit:
    with torch.device("meta"):
        made = Linear4bit(
            layer.in_features, layer.out_features, bias=False,
            compute_dtype=four_bit_compute(placement), quant_type="nf4",
        )  # fmt: skip
    weight = random_weight(name, layer.weight, placement.device, placement.dtype)
    made.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", module=made)
    made.weight = made.weight.to(placement.device)
    return made


def _fill(model: Any, placement: Placement) -> None:
    """Give weights that have no memory yet random numbers, and move the buffers."""
    for name, weight in list(model.named_parameters()):
        if weight.is_meta:
            owner = model.get_submodule(name.rpartition(".")[0])
            numbers = random_weight(name, weight, placement.device, placement.dtype)
            owner.register_parameter(
                name.rpartition(".")[2], nn.Parameter(numbers, requires_grad=False)
            )
    model.to(placement.device)


def forget() -> None:
    """Give back what models that are gone held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
