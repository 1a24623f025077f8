"""The base that a run is planned with: its sizes, and how its weights would be held elsewhere."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import TrainConfig
from hsd.errors import HsdError, ModelError, did_you_mean
from hsd.model.base import BaseFiles, find_base, find_config
from hsd.model.base_shape import BaseShape
from hsd.model.doctor_probes import memory_gb
from hsd.model.families import Attention, attention_for
from hsd.model.lora_targets import require_open_experts, resolve_targets
from hsd.model.memory_parts import AdapterShape, Held
from hsd.model.quantization import Quantization, choose_quantization, skeleton
from hsd.model.read_shape import read_shape
from hsd.training.memory_need import Computed
from hsd.training.planned_attention import planned_attention
from hsd.training.planned_devices import PlannedDevices

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")

SIZES_UNKNOWN = (HsdError, AttributeError, KeyError, TypeError, ValueError)
"""What reading a base's sizes raises where its config says them otherwise, or has no such sizes."""


@dataclass(frozen=True, slots=True)
class PlannedBase:
    """A base without weights, and how it is computed on the planned devices."""

    config: PretrainedConfig
    source: BaseFiles | None
    """With its tokenizer; None where there is a config.json alone."""
    how: Computed
    quantization: Quantization
    attention: str
    """The attention code that the run learns with, as model.attention says it."""
    judged_with: Attention
    """What the base runs with in an evaluation, and in a training that cannot take flex."""


def planned_base(
    config: TrainConfig, devices: PlannedDevices, attention: str | None = None
) -> PlannedBase:
    """Return a base's sizes and how it would be held. Raises ModelError.

    `attention` is the code that it learns with, where that is known.
    """
    source, base = _found(config.model)
    device = "cuda:0" if devices.is_gpu else "cpu"
    attention = attention or planned_attention(config, base, device)
    return base_on(config, base, source, device, _dtype(config.model, devices), attention)


def base_on(
    config: TrainConfig,
    base: PretrainedConfig,
    source: BaseFiles | None,
    device: str,
    dtype: torch.dtype,
    attention: str,
) -> PlannedBase:
    """Return a base's sizes and how it is held on a device. Raises ModelError."""
    quantization = choose_quantization(config.model, base, device, dtype)
    how = computed(config, base, quantization, dtype, device, attention)
    judged_with = attention_for(skeleton(base), config.model.attention, device)
    return PlannedBase(base, source, how, quantization, attention, judged_with)


def computed(
    config: TrainConfig,
    base: PretrainedConfig,
    quantization: Quantization,
    dtype: torch.dtype,
    device: str,
    attention: str,
) -> Computed:
    """Return how a base is held and computed on a device, activations kept. Raises ModelError."""
    shape = read_shape(base, attention, device)
    held = Held(quantization.method, dtype.itemsize, bool(quantization.double))
    adapter = _adapter(shape, config, quantization.method)
    return Computed(shape, held, adapter, on_gpu=device != "cpu")


def devices_here() -> PlannedDevices:
    """Return the devices of this machine: its GPUs, else its CPU."""
    if torch.cuda.is_available():
        least = min(
            torch.cuda.get_device_properties(n).total_memory
            for n in range(torch.cuda.device_count())
        )
        return PlannedDevices(torch.cuda.device_count(), round(least / 1e9, 1), is_gpu=True)
    return PlannedDevices(1, memory_gb(), False, torch.get_num_threads())


def _found(model: ModelConfig) -> tuple[BaseFiles | None, PretrainedConfig]:
    place = Path(model.name).expanduser()
    has_words = any((place / name).exists() for name in _TOKENIZER)
    if place.is_file() or ((place / "config.json").is_file() and not has_words):
        return None, find_config(model)
    source = find_base(model)
    return source, source.config


def _dtype(model: ModelConfig, devices: PlannedDevices) -> torch.dtype:
    asked = ("bfloat16" if devices.is_gpu else "float32") if model.dtype == "auto" else model.dtype
    dtype: torch.dtype = getattr(torch, asked)
    return dtype


def _adapter(shape: BaseShape, config: TrainConfig, quantization: str) -> AdapterShape:
    lora, known, base = config.lora, {one.name for one in shape.linear}, config.model.name
    require_open_experts(lora, quantization, base)
    targets = resolve_targets(lora, shape.names, base)
    for name in () if isinstance(targets.modules, str) else targets.modules:
        if name not in known:
            raise ModelError(
                f"lora.target_modules: '{name}' is no linear layer of {base}."
                + did_you_mean(name, known)
            )
    return AdapterShape(
        lora.rank,
        shape.targets(targets.modules),
        lora.dropout,
        shape.reached(targets),
        lora.rank_pattern,
        lora.use_dora,
    )
