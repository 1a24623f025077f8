"""Settings that the chosen engine would ignore: what a person gave is refused, not left out."""

from collections.abc import Mapping

from pydantic import BaseModel

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError

_LOADED = "the server loads the model"
BY_SERVER = {
    "max_length": "hsd cuts no post for a server",
    "batch_size": "a server is asked about one post per request; --concurrency says how many "
    "requests there are at the same time",
    "prefix_sharing": "the server computes prompts in its own way",
    "ignore_prompt_mismatch": "hsd does not know the prompt that the server's model was trained "
    "with, so no prompt is refused",
    "model.cache_dir": _LOADED,
    "model.revision": _LOADED,
    "model.device": _LOADED,
    "model.dtype": _LOADED,
    "model.quantization": _LOADED,
    "model.double_quantization": _LOADED,
    "model.attention": _LOADED,
}
"""What a server is not asked with, and why."""
BY_VLLM = {
    "prefix_sharing": "vLLM shares prompts in its own way",
    "model.double_quantization": "vLLM loads no base in bitsandbytes' 4 bit",
}
"""What has no meaning where vLLM answers, and why."""
_OF_MODEL = ("model.cache_dir",)
"""Fields of a section whose option names no section."""


def require_no_ignored(config: EvalConfig, ignored: Mapping[str, str]) -> None:
    """Refuse a setting that was given and would be ignored. Raises ConfigError.

    A default stays silent: a run's own config.json, read again, holds all of them.
    """
    for field, why in ignored.items():
        if _is_given(config, field):
            raise ConfigError(f"{_typed(field)}: {why}; leave it out.")


def _is_given(config: EvalConfig, field: str) -> bool:
    *sections, name = field.split(".")
    part: BaseModel = config
    for section in sections:
        part = getattr(part, section)
    default = type(part).model_fields[name].get_default(call_default_factory=True)
    return name in part.model_fields_set and getattr(part, name) != default


def _typed(field: str) -> str:
    """Return the field as it is typed: an option, or a name for --set."""
    if "." in field and field not in _OF_MODEL:
        return field
    return f"--{field.rpartition('.')[2].replace('_', '-')}"
