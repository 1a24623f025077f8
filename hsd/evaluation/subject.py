"""What is evaluated: a base, an adapter on its base, or a merged folder, loaded and described."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hsd.config.evaluate_config import EvalConfig
from hsd.config.model_config import PACKAGE, ModelConfig
from hsd.errors import ModelError
from hsd.io.hashes import sha256_file, sha256_json
from hsd.io.manifest import manifest_of
from hsd.model.adapter import find_recorded, load_adapter
from hsd.model.adapter_folder import (
    CONFIG,
    WEIGHTS,
    adapter_digest,
    base_of,
    changes_base,
    holds_adapters,
    is_adapter,
    is_whole_model,
    learned_inside,
    read_adapter,
    rewrites_base,
)
from hsd.model.base import BaseFiles, find_base, load_base
from hsd.model.describe import describe_base
from hsd.model.own_tokenizer import VOCABULARIES, sha256_of, template_beside, tokenizer_of
from hsd.model.quantization import again, can_stay_packed

log = logging.getLogger(__name__)

READ_FROM_BASE = (
    *("config.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json"),
    *("special_tokens_map.json", "added_tokens.json", "merges.txt", *VOCABULARIES),
)
"""Files of a base that decide its prompts and how its weights are read."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to evaluate. `carries_prompt` is the folder that may hold its prompt.json."""

    config: ModelConfig
    source: BaseFiles
    adapter: Path | None
    carries_prompt: Path | None
    own_tokenizer: PreTrainedTokenizerBase | None = None
    """The one saved beside the adapter, where it differs from the base's."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What writes this model's prompts: its own, else the base's."""
        return self.source.tokenizer if self.own_tokenizer is None else self.own_tokenizer

    @property
    def own_words_in(self) -> Path | None:
        """The adapter's folder where its own tokenizer asks."""
        return None if self.own_tokenizer is None else self.adapter

    @property
    def is_base_when_off(self) -> bool:
        """Whether the model with its adapter switched off is the untouched base."""
        return self.adapter is None or changes_base(read_adapter(self.adapter)) is None

    def identity(self) -> dict[str, Any]:
        """Return what tells this model from another, without its weights being loaded."""
        return {
            "base": self.source.name,
            "revision": self.source.revision,
            "files": _files(Path(self.source.location)),
            "quantization": self.config.quantization,
            "double_quantization": self.config.double_quantization,
            "dtype": self.config.dtype,
            "adapter": adapter_digest(self.adapter) if self.adapter else None,
            "adapter_config": sha256_file(self.adapter / CONFIG) if self.adapter else None,
            **self._own_words(),
        }

    def model_files(self) -> dict[str, str] | None:
        """Return digests of a local base's config, tokenizer and chat template, by file.

        A folder may be changed in place; a hub's or a package's name and revision say it all.
        """
        folder = Path(self.source.location)
        if self.source.name.startswith(PACKAGE) or not folder.is_dir():
            return None
        files = [folder / name for name in READ_FROM_BASE]
        return {file.name: sha256_file(file) for file in files if file.is_file()}

    def load(self) -> tuple[Any, dict[str, Any]]:
        """Return the model, ready to answer, and its facts for the manifest."""
        base = load_base(self.config, self.source)
        facts = describe_base(base)  # of the base as it is, before an adapter is put into it
        if self.adapter is None:
            return base.model, facts
        own = {"adapter": str(self.adapter), **self._own_words()}
        return load_adapter(base, self.adapter), {**facts, **own}

    def of_base(self) -> "Subject":
        """Return the base of an adapter, held as it is."""
        return replace(self, adapter=None, carries_prompt=None, own_tokenizer=None)

    def _own_words(self) -> dict[str, Any]:
        own = self.own_tokenizer
        return {} if own is None else {"tokenizer": sha256_of(own)}


def subject(config: EvalConfig) -> Subject:
    """Return what a config asks to evaluate; tokenizer and config are read, weights are not.

    An adapter is named by `adapter`, or by `model.name` being its folder; its base is the one it
    was trained on, held as it was in training, unless the config says otherwise.
    """
    adapter, model = config.adapter, config.model
    named = Path(model.name).expanduser()
    base_given = "name" in model.model_fields_set
    if adapter is None and is_adapter(named):
        _require_one_model(named)
        adapter, base_given = named, False
    if adapter is None:
        return _without_adapter(model, named)
    if base_given and is_adapter(named):
        raise ModelError(f"model '{model.name}' is an adapter; with --adapter, name its base.")
    trained_on = base_of(adapter)
    model = _with_base(model, adapter, trained_on, base_given)
    if base_given:
        source = find_base(model, template_beside(adapter))
    else:
        source = find_recorded(model, adapter, f"--model-name BASE --adapter {adapter}")
    tokenizer = tokenizer_of(adapter, source)
    if tokenizer is source.tokenizer:
        return Subject(model, source, adapter, adapter)
    log.info("%s: asked with the tokenizer and chat template beside the adapter", adapter)
    return Subject(model, source, adapter, adapter, tokenizer)


def _files(folder: Path) -> str | None:
    """Return a digest of a folder's weight files by name, size and time; None for a hub name.

    A folder may be filled anew under its old name; to read all its weights would take minutes.
    """
    files = [(f.name, f.stat()) for f in sorted(folder.glob("*.safetensors"))]
    known = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    return sha256_json(known) if known else None


def _require_one_model(folder: Path) -> None:
    if is_whole_model(folder):
        raise ModelError(
            f"model '{folder}': holds both a whole model and an adapter ({WEIGHTS}). Give the "
            f"adapter as --adapter {folder} with its base as --model-name, or move it to a folder "
            "of its own."
        )


def _without_adapter(model: ModelConfig, named: Path) -> Subject:
    if not named.is_dir():
        return Subject(model, find_base(model), None, None)
    if not (named / "config.json").is_file() and holds_adapters(named):
        read_adapter(named)  # raises, and names them
    if (named / CONFIG).is_file():
        log.warning(
            "%s is a whole model with an %s left over: evaluated as the model", named, CONFIG
        )
    source = find_base(model)
    is_merge = manifest_of(named).get("kind") == "merge"
    if is_merge and model.quantization == "auto" and not can_stay_packed(source.config):
        # A merge was verified as it was saved; 4 bit would make it another model once more.
        model = model.model_copy(update={"quantization": "none"})
    return Subject(model, source, None, named)


def _needs_plain_weights(said: Mapping[str, Any]) -> bool:
    """Whether an adapter rewrites its base's weights or learned inside of fused experts.

    Neither can be done to weights in 4 bit.
    """
    return bool(rewrites_base(said) or learned_inside(said))


def _with_base(
    model: ModelConfig, adapter: Path, trained_on: Mapping[str, Any], base_given: bool
) -> ModelConfig:
    changes: dict[str, Any] = {}
    if not base_given:
        if not trained_on.get("name"):
            raise ModelError(
                f"{adapter / CONFIG}: does not say its base; name it: --model-name BASE "
                f"--adapter {adapter}."
            )
        changes["name"] = trained_on["name"]
        changes["revision"] = model.revision or trained_on.get("revision")
    held = trained_on.get("quantization")
    if held is None and _needs_plain_weights(read_adapter(adapter)):
        held = "none"
    if model.quantization == "auto" and held is not None:
        changes["quantization"] = again(held)
    return model.model_copy(update=changes)
