"""A merge that leaves experts in MXFP4: the base's own files with a few weights replaced.

For gpt-oss-20b 14 GB instead of 42 GB, in the layout that vLLM serves. Files are copied, and never
linked, to the base's: each released file has attention weights, so that almost none would stay as
it is, and a link would give the base's files the merge's permissions.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hsd.config.merge_config import MergeConfig
from hsd.config.model_config import ModelConfig
from hsd.errors import ModelError
from hsd.hub.weight_files import INDEX, weight_files
from hsd.io.run_identity import identity_of
from hsd.model.adapter_folder import learned_inside, read_adapter
from hsd.model.base import Base, BaseFiles, load_base
from hsd.model.formats import stored
from hsd.model.quantization import PACKED, can_stay_packed, held_bytes, skeleton
from hsd.model.standalone import own_dtype, writing

log = logging.getLogger(__name__)

COPIED = (INDEX, "config.json", "generation_config.json")
"""What stays as it is beside the weights; config.json says that the experts are in MXFP4."""


def stays_packed(config: MergeConfig, source: BaseFiles) -> bool:
    """Return whether a merge leaves the base's experts in MXFP4; one that is there keeps its form.

    Raises ModelError where that is asked for and cannot be.
    """
    why = _why_unpacked(config.adapter_path, source)
    if config.experts == "packed" and why:
        raise ModelError(f"{config.adapter_path}: --experts packed: {why}. Leave --experts out.")
    if config.experts == "auto":
        return why is None and not _is_unpacked(config.output_dir)
    return config.experts == "packed"


def packed_gb(source: BaseFiles, dtype: torch.dtype | None = None) -> float:
    """Return the size of a base with packed experts, the rest in a format or its own."""
    hollow = skeleton(source.config, PACKED)
    return held_bytes(hollow, None, dtype or own_dtype(source)) / 1e9


def write_packed(weights: Any, base: Base, folder: Path, dtype: torch.dtype) -> None:
    """Write the base's files with each weight replaced that differs, tokenizer and chat template.

    `weights` is the merged model. A file at a time: its unchanged weights are read from the base's
    file while they are written. Each weight keeps the number format that it has there; `dtype` is
    that of most.
    """
    made: dict[str, Tensor] = weights.state_dict()
    source = base.source.weights_in or Path(base.source.location)
    with writing(folder):
        replaced = [_replace(file, folder / file.name, made) for file in weight_files(source)]
        for name in COPIED:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        base.tokenizer.save_pretrained(folder)
    log.info("replaced %d weights, mostly in %s; the others are the base's", sum(replaced), dtype)


def read_packed(folder: Path, model: ModelConfig) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return the folder's model, experts packed, and its tokenizer; `model` says where it goes.

    Raises ModelError when a weight is missing, left over or misshaped.
    """
    try:
        base = load_base(model.model_copy(update={"name": str(folder), "revision": None}))
    except ModelError as error:
        raise ModelError(
            f"the merged model does not read back whole ({str(error).rstrip('.')}); nothing was "
            "kept."
        ) from None
    return base.model, base.tokenizer


def _why_unpacked(adapter: Path, source: BaseFiles) -> str | None:
    """Return why the experts cannot stay packed, None where they can."""
    if not can_stay_packed(source.config):
        kind = stored(source.config).kind
        return f"the base {source.name} has no experts in MXFP4 (its weights: {kind})"
    if inside := learned_inside(read_adapter(adapter)):
        return f"{inside}, and MXFP4 would round what was learned"
    return None


def _is_unpacked(output: Path) -> bool:
    """Whether a merge is there that unpacked the experts, as all of an older hsd did."""
    known = identity_of(output)
    return known is not None and "experts" not in known


def _replace(file: Path, target: Path, made: Mapping[str, Tensor]) -> int:
    """Write one file of the base with the weights that were changed; return how many."""
    with safe_open(file, "pt") as old:
        own: dict[str, Tensor] = {name: old.get_tensor(name) for name in old.keys()}  # noqa: SIM118
        changed = {
            name: new
            for name, weight in own.items()
            if name in made
            and not torch.equal(new := made[name].to("cpu", weight.dtype).contiguous(), weight)
        }
        if changed:
            save_file(own | changed, target, metadata=old.metadata())
        else:
            shutil.copyfile(file, target)
    return len(changed)
