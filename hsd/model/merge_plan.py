"""What a merge knows before any weight is loaded: which base, held how, asked with which prompt."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hsd.config.merge_config import MergeConfig, Onto
from hsd.config.model_config import ModelConfig, Quantization
from hsd.errors import ModelError
from hsd.io.hashes import sha256_file
from hsd.io.json_reader import read_object
from hsd.io.manifest import MANIFEST
from hsd.io.run_identity import ADAPTER_SETTINGS
from hsd.model.adapter import find_recorded
from hsd.model.adapter_folder import CONFIG, adapter_digest, base_of
from hsd.model.base import BaseFiles, find_base
from hsd.model.formats import stored
from hsd.model.launcher import refuse_cpu_for_gpus
from hsd.model.own_tokenizer import blaming, sha256_of, template_beside, tokenizer_of
from hsd.model.packed_merge import packed_gb, stays_packed
from hsd.model.probes import Probe, make_probes
from hsd.model.quantization import PACKED, again, in_4bit
from hsd.model.standalone import own_dtype, standalone_gb
from hsd.prompts.contract import Contract, load_contract, make_contract
from hsd.prompts.template import load_template

PROBES = 12
"""Prompts on which the models are compared."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """One adapter and the base it goes into."""

    adapter: Path
    adapter_sha256: str
    adapter_config_sha256: str
    """Of its settings: another `lora_alpha` makes another model of the same weights."""
    model: ModelConfig
    """How the base is loaded to be merged into."""
    source: BaseFiles
    """With the tokenizer that the adapter was trained with."""
    trained_in_4bit: bool
    as_trained: Quantization
    """The setting that holds the base as it was in training."""
    onto: Onto
    contract: Contract
    probes: list[Probe]
    packed: bool = False
    """Whether the experts stay as the base has them, in MXFP4."""
    own_tokenizer: str | None = None
    """Digest of the one beside the adapter, where it differs from the base's."""

    @property
    def dequantizes(self) -> bool:
        """Whether the adapter goes into the 4-bit base, dequantised."""
        return self.trained_in_4bit and self.onto == "trained"

    @property
    def target(self) -> str:
        """What the adapter goes into, in words."""
        if self.packed:
            return "the original base, its experts packed as they were (MXFP4)"
        return "the dequantised 4-bit base" if self.dequantizes else "the original base"

    @property
    def formats(self) -> list[torch.dtype]:
        """The number formats to write, the base's own first; its own files have no other."""
        own = own_dtype(self.source)
        return [own] if self.packed else list(dict.fromkeys([own, torch.float32]))

    def written_gb(self, dtype: torch.dtype) -> float:
        """Return the size of the merged model in a number format."""
        return packed_gb(self.source) if self.packed else standalone_gb(self.source, dtype)

    def identity(self) -> dict[str, Any]:
        """Return what makes two merges the same one."""
        return {
            "kind": "merge",
            "adapter_sha256": self.adapter_sha256,
            ADAPTER_SETTINGS: self.adapter_config_sha256,
            "base": self.source.name,
            "revision": self.source.revision,
            "onto": self.onto,
            "prompt_hash": self.contract.hash,
            **({"experts": "packed"} if self.packed else {}),
            **({"tokenizer": self.own_tokenizer} if self.own_tokenizer else {}),
        }


def plan_merge(config: MergeConfig) -> MergePlan:
    """Read and check everything that can be without weights.

    The base is the recorded one in its recorded revision, wherever `base_model` says it is now.
    An adapter made elsewhere says nothing of 4 bit and counts as trained on the 16-bit base, unless
    its base is a checkpoint in 4 bit.
    Raises ModelError or PreflightError.
    """
    adapter = config.adapter_path
    trained_on = base_of(adapter)
    name = config.base_model or trained_on["name"]
    if not name:
        raise ModelError(f"{adapter}: does not say its base; give it as --base-model.")
    revision = trained_on["revision"] if name == trained_on["name"] else None
    model = ModelConfig(name=name, revision=revision, cache_dir=config.cache_dir)
    source, own = _source(config, model)
    digest = adapter_digest(adapter)
    _require_not_merged_yet(source, digest)
    held = _held_in(trained_on, source)
    onto = config.onto if in_4bit(held) else "trained"
    packed = stays_packed(config, source)
    _require_original(onto, source)
    contract = load_contract(adapter) or make_contract(load_template("baseline"), "standard")
    context = getattr(source.config, "max_position_embeddings", None)
    with blaming(adapter if own else None):
        probes = make_probes(source.tokenizer, contract, PROBES, context)
    return MergePlan(
        adapter=adapter,
        adapter_sha256=digest,
        adapter_config_sha256=sha256_file(adapter / CONFIG),
        model=model.model_copy(update=_held(config, source, trained_on, held, packed)),
        source=source,
        trained_in_4bit=in_4bit(held),
        as_trained=again(held),
        onto=onto,
        contract=contract,
        probes=probes,
        packed=packed,
        own_tokenizer=own,
    )


def _source(config: MergeConfig, model: ModelConfig) -> tuple[BaseFiles, str | None]:
    """Return the base with the adapter's tokenizer, and that one's digest if it is another."""
    adapter = config.adapter_path
    if config.base_model:
        source = find_base(model, template_beside(adapter))
    else:
        source = find_recorded(model, adapter, "--base-model BASE")
    tokenizer = tokenizer_of(adapter, source)
    if tokenizer is source.tokenizer:
        return source, None
    return replace(source, tokenizer=tokenizer), sha256_of(tokenizer)


def _held_in(trained_on: Mapping[str, Any], source: BaseFiles) -> str | None:
    """Return how the base was held in training: as recorded, or as its checkpoint must be."""
    own = stored(source.config).bits
    return trained_on.get("quantization") or (own.bnb_4bit_quant_type if own else None)


def _held(
    config: MergeConfig,
    source: BaseFiles,
    trained_on: Mapping[str, Any],
    held: str | None,
    packed: bool,
) -> dict[str, Any]:
    """Return how the base is held while it is merged into."""
    as_trained = packed or (in_4bit(held) and config.onto == "trained")
    return {
        "device": _device(config.device, source, packed),
        "dtype": "float32",  # 16-bit arithmetic would hide errors of the merge behind its own
        "quantization": again(PACKED if packed else held) if as_trained else "none",
        "double_quantization": trained_on.get("double_quantization") is not False,
    }


def _device(asked: str, source: BaseFiles, packed: bool) -> str:
    """Return the CPU for `auto` where the GPU has no room: a merge needs a few short passes."""
    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        refuse_cpu_for_gpus(os.environ)
        return asked
    held_gb = packed_gb if packed else standalone_gb
    needed_gb = held_gb(source, torch.float32) * 1.2
    return "cuda" if needed_gb < torch.cuda.mem_get_info()[0] / 1e9 else "cpu"


def _require_original(onto: Onto, source: BaseFiles) -> None:
    """A checkpoint that is itself in 4 bit has no weights in 16 bit to merge into."""
    own = stored(source.config)
    if onto == "original" and own.bits is not None:
        raise ModelError(
            f"{source.name}: --onto original needs the base in 16 bit, but this checkpoint is in 4 "
            f"bit itself ({own.kind}); name the one that it was made from as --base-model, or "
            "leave --onto out."
        )


def _require_not_merged_yet(source: BaseFiles, adapter_sha256: str) -> None:
    """A merged base has the same norms as its base, so its fingerprint would not tell."""
    file = Path(source.location) / MANIFEST
    merged = read_object(file).get("adapter") if file.is_file() else None
    if isinstance(merged, dict) and merged.get("sha256") == adapter_sha256:
        raise ModelError(f"{source.name}: this adapter is already merged into it.")
