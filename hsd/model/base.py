"""The one loader: a base model with its tokenizer, for training and evaluation alike."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hsd.config.model_config import PACKAGE, ModelConfig
from hsd.errors import ModelError, PreflightError
from hsd.hub.base_models import folders_beside, kind_of, require_base_named, unreachable
from hsd.hub.package import package_folder
from hsd.hub.weight_files import weight_files
from hsd.model import gguf, quantization
from hsd.model.embedding_rows import require_embeddings
from hsd.model.families import (
    attention_for,
    forget_choices,
    require_attention,
    require_countable,
)
from hsd.model.formats import without_quantization
from hsd.model.head import give_float32_logits
from hsd.model.instructed import instead_of
from hsd.model.json_files import require_readable
from hsd.model.loaded_weights import require_as_said, require_on, require_plain_files, require_whole
from hsd.model.memory import Need, free_gb, memory_error_as, need_of, require_room
from hsd.model.model_task import SENTENCE_ENCODER, require_no_encoder, require_writer
from hsd.model.placement import Placement, four_bit_compute, place

log = logging.getLogger(__name__)

NO_ADAPTER = {"subfolder": "no-adapter"}
"""Where transformers looks for an adapter to put on what it loads. It would find the
adapter_config.json that a merge left behind, and put the adapter on the merged model once more."""


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Where a base's files are, its config and its tokenizer; no weights yet."""

    name: str
    location: str
    revision: str | None
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    weights_in: Path | None = None
    """The folder of the weights' own files: of a GGUF file, not of what is converted from it."""


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base model, frozen, in evaluation mode."""

    model: PreTrainedModel
    source: BaseFiles
    placement: Placement
    quantization: quantization.Quantization

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's own tokenizer, unchanged."""
        return self.source.tokenizer


def find_base(config: ModelConfig, chat_template: str | dict[str, str] | None = None) -> BaseFiles:
    """Return a base's config and tokenizer, from a folder, a package, a GGUF file or the hub.

    Cheap: no weights are read (a GGUF file is converted once). `chat_template` is for a base that
    has none. Raises ModelError, also for a checkpoint of another task and for a tokenizer that is
    not the base's.
    """
    with _readable(config):
        location = _location(config)
    weights_in = _weights_in(location, config)
    if weights_in:
        _require_files(config.name, location, weights_in)
    base = find_config(config, location)
    if weights_in is None and (weights_in := _weights_in(location, config)):
        _require_files(config.name, location, weights_in)  # a hub's, fetched a moment ago
    if parts := _file_beside(location, config, SENTENCE_ENCODER):
        require_no_encoder(parts, config.name)
    with _readable(config):
        tokenizer = AutoTokenizer.from_pretrained(location, **_hub(config))
    tokenizer.chat_template = tokenizer.chat_template or chat_template
    if not tokenizer.chat_template:
        named = Path(config.name).expanduser()
        advice = instead_of(named.absolute().name, folders_beside(named) if named.is_dir() else [])
        raise ModelError(f"model '{config.name}': its tokenizer has no chat template; {advice}.")
    require_embeddings(tokenizer, base, config.name)
    revision = getattr(base, "_commit_hash", None) or config.revision
    return BaseFiles(config.name, location, revision, base, tokenizer, weights_in)


def find_config(config: ModelConfig, location: str | None = None) -> PretrainedConfig:
    """Return a base's config alone, from wherever the base is or from its config.json.

    Raises ModelError where there is none, and for a checkpoint of another task.
    """
    is_file = Path(config.name).expanduser().is_file()
    with _readable(config):
        location = location or (config.name if is_file else _location(config))
        base = forget_choices(AutoConfig.from_pretrained(location, **_hub(config)))
    require_countable(base, config.name)
    require_writer(base, config.name)
    return base


def load_base(
    config: ModelConfig, source: BaseFiles | None = None, placement: Placement | None = None
) -> Base:
    """Return the base on its device, every weight frozen and as the log says it is held.

    Where it goes is decided here, unless it was before. Raises ModelError, or PreflightError where
    memory is too small for it.
    """
    source = source or find_base(config)
    placement = placement or place(config)
    compute = four_bit_compute(placement)
    how = quantization.choose_quantization(config, source.config, placement.device, compute)
    hollow = quantization.skeleton(source.config, how.method)
    attention = attention_for(hollow, config.attention, placement.device)
    log.info("device: %s (%s)", placement.device, placement.reason)
    log.info("weights: %s (%s)", how.method, how.reason)
    log.info("attention: %s (%s)", attention.code, attention.reason)
    need = _require_room(hollow, source, placement, how)
    full = PreflightError(
        f"model '{config.name}': memory ran out on {placement.device} while it was loaded (about "
        f"{need.gb:.1f} GB); end what else runs there, take more memory or a smaller base."
    )
    with _readable(config), memory_error_as(full):
        model, found = AutoModelForCausalLM.from_pretrained(
            source.location,
            config=_to_load(source.config, how),
            dtype=placement.dtype,
            device_map={"": placement.device},
            attn_implementation=attention.library_name,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are listed, and refused below in one line
            adapter_kwargs=NO_ADAPTER,
            **_quantized_by(how),
            **_hub(config),
        )
    _require_as_expected(model, found, source, placement, how)
    require_attention(model, attention, config.name)
    if hasattr(model.config, "output_router_logits"):
        model.config.output_router_logits = False
    give_float32_logits(model)
    model.requires_grad_(False)
    return Base(model.eval(), source, placement, how)


def _quantized_by(how: quantization.Quantization) -> dict[str, Any]:
    """Return the loader's word on quantisation: a None would wipe out the checkpoint's own."""
    return {"quantization_config": how.loader_config} if how.loader_config is not None else {}


def _to_load(config: PretrainedConfig, how: quantization.Quantization) -> PretrainedConfig:
    """Return the config that the loader gets; its own word on MXFP4 would make it unpack."""
    return without_quantization(config) if how.method == quantization.PACKED else config


def _require_room(
    hollow: Any, source: BaseFiles, placement: Placement, how: quantization.Quantization
) -> Need:
    """Return what a base needs; refuse it where there is no room, before a byte is read."""
    need = need_of(hollow, how, placement.dtype)
    free = free_gb(placement, how, getattr(source.config, "dtype", None))
    if free is None or need.gb <= free:
        return need
    in_4bit = _need_in_4bit(hollow, source.config, placement, how)
    require_room(source.name, need, free, placement.device, in_4bit)
    return need


def _need_in_4bit(
    hollow: Any, config: PretrainedConfig, placement: Placement, how: quantization.Quantization
) -> Need | None:
    """Return what a base would take with model.quantization=nf4; None where it takes no 4 bit."""
    if how.method == "dequantized" and quantization.can_stay_packed(config):
        packed = quantization.Quantization(quantization.PACKED, "")
        return need_of(quantization.skeleton(config, packed.method), packed, placement.dtype)
    if how.bits is not None or quantization.why_not_nf4(config) is not None:
        return None
    bits = quantization.nf4_config(double=True)
    return need_of(hollow, quantization.Quantization("nf4", "", bits, bits), placement.dtype)


def _require_as_expected(
    model: Any,
    found: Mapping[str, Any],
    source: BaseFiles,
    placement: Placement,
    how: quantization.Quantization,
) -> None:
    require_whole(found, source.config, source.name)
    if found["unexpected_keys"]:
        log.info("left out, as the model has no use for it: %s", sorted(found["unexpected_keys"]))
    require_on(model, placement.device, source.name)
    require_as_said(model, how, placement.dtype, source.name)
    if how.method == "none":
        require_plain_files(_files_of(source), source.name)


def _location(config: ModelConfig) -> str:
    name = config.name
    folder = _folder(name)
    if folder.is_dir():
        file = gguf.gguf_file(folder)
        return str(gguf.converted(file, config.cache_dir) if file else folder)
    require_base_named(name)
    return name


def _require_files(name: str, location: str, weights_in: Path) -> None:
    """Refuse JSON that the library would stumble over, and an index that names files elsewhere."""
    try:
        require_readable(Path(location) if Path(location).is_dir() else weights_in)
        weight_files(weights_in)
    except ModelError as error:
        raise ModelError(f"model '{name}': cannot be loaded: {error}") from None


def _folder(name: str) -> Path:
    return package_folder(name) if name.startswith(PACKAGE) else Path(name).expanduser()


def _weights_in(location: str, config: ModelConfig) -> Path | None:
    """Return the folder of a base's own weights; None of a hub's that is not in the cache."""
    if Path(location).is_dir():
        return _folder(config.name)
    revision = config.revision or "main"
    cached = try_to_load_from_cache(location, "config.json", config.cache_dir, revision)
    return Path(cached).parent if isinstance(cached, str) else None


def _file_beside(location: str, config: ModelConfig, file: str) -> Path | None:
    """Return one more file of a checkpoint, None where it has none (or none can be fetched)."""
    if Path(location).is_dir():
        return path if (path := Path(location) / file).is_file() else None
    revision = config.revision or "main"
    try:
        found = hf_hub_download(location, file, revision=revision, cache_dir=config.cache_dir)
    except (EntryNotFoundError, OSError):
        return None
    return Path(found)


def _files_of(source: BaseFiles) -> Path:
    """Return the folder with a loaded base's files."""
    location = Path(source.location)
    return location if location.is_dir() else source.weights_in or location


def _hub(config: ModelConfig) -> dict[str, Any]:
    """Return what every loading call gets. The token comes from HF_TOKEN or HF_TOKEN_PATH."""
    return {
        "revision": config.revision or "main",
        "cache_dir": config.cache_dir,
        "trust_remote_code": False,
    }


@contextmanager
def _readable(config: ModelConfig) -> Iterator[None]:
    """Turn what the loading libraries raise for a bad name, folder or network into one line."""
    name = config.name
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        if kind_of(name) == "hub" and _is_offline(error):
            besides = f"or set HF_HOME to a cache that has the model.{_near(name)}"
            raise unreachable(config, besides) from error
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"model '{name}': cannot be loaded: {reason}{_near(name)}") from error


def _is_offline(error: BaseException | None) -> bool:
    """Return whether a file is neither in the cache nor to be fetched, as the hub's client says.

    transformers raises an OSError of its own, with the client's behind it.
    """
    while error is not None:
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
            return True
        error = error.__cause__ or error.__context__
    return False


def _near(name: str) -> str:
    """Return the folder that `runs/defualt`, which looks like a hub name, may have meant."""
    path = Path(name).expanduser()
    close = [] if path.is_dir() else get_close_matches(path.name, folders_beside(path), n=1)
    return f" Did you mean the folder '{path.parent / close[0]}'?" if close else ""
