"""A model as an ordinary Hugging Face folder: written, and read back with suspicion."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from hsd.config.model_config import ModelConfig
from hsd.errors import ModelError
from hsd.io.files import naming
from hsd.model.base import Base, BaseFiles, find_base
from hsd.model.families import attention_for
from hsd.model.formats import without_quantization
from hsd.model.placement import Placement
from hsd.model.quantization import skeleton

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def own_dtype(source: BaseFiles) -> torch.dtype:
    """Return the number format of a base's published weights, float32 for anything unusual."""
    dtype = getattr(source.config, "dtype", None)
    return dtype if dtype in (torch.bfloat16, torch.float16) else torch.float32


def standalone_gb(source: BaseFiles, dtype: torch.dtype) -> float:
    """Return the size of a base's weights in a number format; none are read."""
    numbers = sum(p.numel() for p in skeleton(without_quantization(source.config)).parameters())
    return float(numbers * dtype.itemsize / 1e9)


def write_standalone(weights: Any, base: Base, folder: Path, dtype: torch.dtype) -> None:
    """Write weights, config, generation config, tokenizer and chat template.

    `weights` is a model with plain layers, and is used up. They go into a fresh model: a loaded
    one remembers how it was loaded, so that transformers 5.23 writes an unpacked MXFP4 base under
    its packed names and reads that back with random experts and no more than a remark.
    """
    for parameter in weights.parameters():  # one at a time: never two whole copies
        parameter.data = parameter.data.to(dtype)
    config = without_quantization(base.source.config)
    if not weights.config.tie_word_embeddings:  # peft says so where a merge made them two
        config.tie_word_embeddings = False
    fresh: Any = skeleton(config)
    fresh.load_state_dict(weights.state_dict(), strict=True, assign=True)
    fresh.tie_weights()
    fresh.generation_config = base.model.generation_config
    for old in folder.glob("model*.safetensors*"):  # of another number format
        old.unlink()
    with writing(folder):
        fresh.save_pretrained(folder, max_shard_size="5GB")
        base.tokenizer.save_pretrained(folder)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the libraries raise where a model cannot be written into an error that says so."""
    try:
        with naming(folder):
            yield
    except SafetensorError as error:
        raise ModelError(f"{folder.parent}: the weights cannot be written ({error}).") from None
    except Exception as error:
        # What tokenizers' own code is told by the disk it raises as a bare Exception.
        if said := _OS_ERROR.search(str(error)):
            raise OSError(int(said[1]), os.strerror(int(said[1])), str(folder)) from None
        raise


def read_back(folder: Path, placement: Placement) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return the folder's model and tokenizer.

    Raises ModelError when a weight is missing, left over or misshaped: transformers makes up
    random ones for what is missing.
    """
    source = find_base(ModelConfig(name=str(folder)))
    attention = attention_for(skeleton(source.config), "auto", placement.device)
    model, info = AutoModelForCausalLM.from_pretrained(
        source.location,
        config=source.config,
        dtype=placement.dtype,
        device_map={"": placement.device},
        attn_implementation=attention.code,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if wrong := [(kind, sorted(map(str, names))) for kind, names in info.items() if names]:
        kind, names = wrong[0]
        raise ModelError(
            f"the merged model does not read back whole: {len(names)} {kind.replace('_', ' ')}, "
            f"such as {names[0]}; nothing was kept."
        )
    return model.eval(), source.tokenizer
