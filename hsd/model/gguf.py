"""GGUF weights as an ordinary Hugging Face folder, converted once.

transformers reads GGUF but refuses to save what it read ("quantized with gguf"), and reading takes
most of a minute, so the weights go into a fresh model of the same config and into a cache.
"""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hsd.errors import ModelError
from hsd.hub.cache import cache, made_once
from hsd.io.hashes import sha256_file


def gguf_file(folder: Path) -> Path | None:
    """Return the folder's one GGUF file, None when it has none or has safetensors too."""
    files = sorted(folder.rglob("*.gguf"))
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ModelError(f"{folder}: several GGUF files ({names}); keep one of them in a folder.")
    return files[0]


def converted(file: Path, cache_dir: Path | None) -> Path:
    """Return a Hugging Face folder (safetensors, bfloat16, tokenizer) made from a GGUF file.

    It is made once, under the cache, and named by the file's hash.
    """
    target = cache("converted", cache_dir) / f"{file.stem}-{sha256_file(file)[:16]}"
    return made_once(target, lambda folder: _convert(file, folder))


def _convert(file: Path, folder: Path) -> None:
    read = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
    )
    config = type(read.config).from_dict(read.config.to_dict())
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = type(read)(config)
    fresh.load_state_dict(read.state_dict())
    fresh.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
