"""The one loader: a base model with its tokenizer, for training and evaluation alike."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hsd.config.model import ModelConfig
from hsd.errors import ModelError, did_you_mean
from hsd.model import gguf, quantization
from hsd.model.families import attention_for
from hsd.model.head import give_float32_logits
from hsd.model.instructed import instead_of
from hsd.model.placement import Placement, place

log = logging.getLogger(__name__)

NO_ADAPTER = {"subfolder": "no-adapter"}
"""Where transformers looks for an adapter to put on what it loads. It would find the
adapter_config.json that a merge left behind, and put the adapter on the merged model once more."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a base's files are, its config and its tokenizer; no weights yet."""

    name: str
    location: str
    revision: str | None
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base model, frozen, in evaluation mode."""

    model: PreTrainedModel
    source: Source
    placement: Placement
    quantization: quantization.Quantization

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's own tokenizer, unchanged."""
        return self.source.tokenizer


def find(config: ModelConfig, chat_template: str | dict[str, str] | None = None) -> Source:
    """Return a base's config and tokenizer, from a folder, a package, a GGUF file or the hub.

    Cheap: no weights are read (a GGUF file is converted once). `chat_template` is for a base that
    has none. Raises ModelError.
    """
    with _readable(config.name):
        location = _location(config)
        base = AutoConfig.from_pretrained(location, **_hub(config))
        tokenizer = AutoTokenizer.from_pretrained(location, **_hub(config))
    tokenizer.chat_template = tokenizer.chat_template or chat_template
    if not tokenizer.chat_template:
        named = Path(config.name).expanduser()
        advice = instead_of(named.absolute().name, _siblings(named) if named.is_dir() else [])
        raise ModelError(f"model '{config.name}': its tokenizer has no chat template; {advice}.")
    revision = getattr(base, "_commit_hash", None) or config.revision
    return Source(config.name, location, revision, base, tokenizer)


def load_base(config: ModelConfig, source: Source | None = None) -> Base:
    """Return the base on its device, every weight frozen. Raises ModelError or PreflightError."""
    source = source or find(config)
    placement = place(config)
    how = quantization.choose(config, source.config, placement.device)
    attention = attention_for(source.config.model_type, config.attention, placement.device)
    log.info("device: %s (%s)", placement.device, placement.reason)
    log.info("weights: %s (%s); attention: %s", how.method, how.reason, attention)
    with _readable(config.name):
        model, found = AutoModelForCausalLM.from_pretrained(
            source.location,
            dtype=placement.dtype,
            device_map={"": placement.device},
            attn_implementation=attention,
            quantization_config=how.loader_config,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are listed, and refused below in one line
            adapter_kwargs=NO_ADAPTER,
            **_hub(config),
        )
    _require_complete(found, config.name)
    if how.method == "nf4":
        quantization.require_quantized(model, config.name)
    if hasattr(model.config, "output_router_logits"):
        model.config.output_router_logits = False
    give_float32_logits(model)
    model.requires_grad_(False)
    return Base(model.eval(), source, placement, how)


def _require_complete(found: Mapping[str, Any], name: str) -> None:
    """Refuse a checkpoint with gaps: the library fills them with random numbers and a remark."""
    misshaped = [key[0] if isinstance(key, tuple) else key for key in found["mismatched_keys"]]
    if gaps := sorted([*found["missing_keys"], *misshaped]):
        raise ModelError(
            f"model '{name}': {len(found['missing_keys'])} of its weights are missing and "
            f"{len(misshaped)} have another shape than config.json says (such as {gaps[0]}); "
            "copy or download it again."
        )
    if found["unexpected_keys"]:
        log.warning("weights that the model has no place for: %s", sorted(found["unexpected_keys"]))


def _location(config: ModelConfig) -> str:
    name = config.name
    folder = gguf.package_folder(name) if name.startswith(gguf.PACKAGE) else Path(name).expanduser()
    if folder.is_dir():
        file = gguf.gguf_file(folder)
        return str(gguf.converted(file, config.cache_dir) if file else folder)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name
    raise ModelError(
        f"model '{name}': no such folder, and not a hub name (owner/name) or pypi:PACKAGE."
        + did_you_mean(folder.name, _siblings(folder))
    )


def _hub(config: ModelConfig) -> dict[str, Any]:
    """Return what every loading call gets. The token comes from HF_TOKEN or HF_TOKEN_PATH."""
    return {
        "revision": config.revision or "main",
        "cache_dir": config.cache_dir,
        "trust_remote_code": False,
    }


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what the loading libraries raise for a bad name, folder or network into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model '{name}': cannot be loaded: {reason}{_near(name)} "
            "(offline, fetch it elsewhere and give its folder, or set HF_HOME to a filled cache)."
        ) from error


def _near(name: str) -> str:
    """Return the folder that `runs/defualt`, which looks like a hub name, may have meant."""
    path = Path(name).expanduser()
    close = [] if path.is_dir() else get_close_matches(path.name, _siblings(path), n=1)
    return f" Did you mean the folder '{path.parent / close[0]}'?" if close else ""


def _siblings(folder: Path) -> list[str]:
    """Return the names of the folders beside a model's, its own among them."""
    return [path.name for path in folder.absolute().parent.glob("*") if path.is_dir()]
