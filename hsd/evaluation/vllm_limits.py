"""What vLLM cannot answer truly, refused before anything is loaded.

vLLM skips what it does not know of an adapter, and which settings it knows depends on its version.
So only plain LoRA on plain layers is served; `hsd merge` makes a model of everything else.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError, ModelError
from hsd.evaluation.ignored_settings import BY_VLLM, require_no_ignored
from hsd.evaluation.subject import Subject
from hsd.model.adapter_folder import WEIGHTS, changes_base, read_adapter
from hsd.model.number_format import NumberFormat
from hsd.model.placement import launch

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for."""
UNSERVED = (
    "use_dora", "use_rslora", "lora_bias", "modules_to_save", "target_parameters", "rank_pattern",
    "alpha_pattern", "trainable_token_indices", "fan_in_fan_out",
)  # fmt: skip
"""Settings of an adapter that vLLM does not have, or had not before some version."""
_HELD = ("none", "packed", "dequantized")
"""How hsd may hold a base that vLLM reads the same files of: none is in bitsandbytes' 4 bit."""
_PLAIN = (".lora_A.weight", ".lora_B.weight")
_NO_LAYERS = ("embed_tokens", "lm_head", "experts")


def require_vllm_settings(config: EvalConfig) -> None:
    """Refuse settings that only another engine has. Raises ConfigError."""
    if config.engine != "vllm":
        for name in sorted(config.vllm.model_dump(exclude_defaults=True)):
            raise ConfigError(f"vllm.{name} needs --engine vllm.")
        return
    if launch().world_size > 1:
        raise ConfigError(
            "engine vllm: start one process; vLLM splits a model over GPUs itself, with --set "
            "vllm.tensor_parallel=N. For many rows, hsd predict has --shard."
        )
    require_no_ignored(config, BY_VLLM)


def require_servable(subject: Subject, numbers: NumberFormat) -> None:
    """Refuse a base or an adapter that vLLM would answer otherwise for. Raises ModelError."""
    if (held := numbers["quantization"]) not in _HELD:
        raise ModelError(
            f"engine vllm: hsd would hold the base in 4 bit ({held}), which vLLM does in another "
            "way; set model.quantization=none, which is another number format, or use --engine hsd."
        )
    if subject.adapter is None:
        return
    if why := unserved(read_adapter(subject.adapter), tensor_names(subject.adapter)):
        raise ModelError(
            f"{subject.adapter}: vLLM cannot serve this adapter: {why}. Merge it "
            f"(hsd merge --adapter-path {subject.adapter} --output-dir FOLDER) and give the merged "
            "folder as --model-name, or use --engine hsd."
        )


def require_unquantized(config: EvalConfig) -> None:
    """Refuse a number format that no base is served in. Raises ConfigError."""
    asked = config.model.quantization
    if asked not in ("auto", *_HELD):
        raise ConfigError(
            f"engine vllm: vLLM does not hold a base in 4 bit as model.quantization={asked} does; "
            "set model.quantization=none, which is another number format, or use --engine hsd."
        )


def unserved(config: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return why vLLM cannot serve an adapter of these settings and weights; None if it can."""
    if found := [name for name in UNSERVED if config.get(name)]:
        return f"{', '.join(found)} is set"
    if why := changes_base(config):
        return why
    if config.get("r", 8) > RANKS[-1]:
        return f"its rank {config['r']} is above {RANKS[-1]}"
    odd = [name for name in names if not _is_plain(name)]
    return f"it has weights beside linear layers ({odd[0]})" if odd else None


def room_for_rank(rank: int) -> int:
    """Return the smallest rank that vLLM makes room for and that holds this one."""
    return next(room for room in RANKS if rank <= room)


def tensor_names(adapter: Path) -> list[str]:
    """Return the names of an adapter's weights, none of which is read."""
    with safe_open(adapter / WEIGHTS, "pt") as stored:
        return list(stored.keys())


def _is_plain(name: str) -> bool:
    return name.endswith(_PLAIN) and not any(part in _NO_LAYERS for part in name.split("."))
