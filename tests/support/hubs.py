"""Folders of models as the hub's cache has them, without weights: only names and sizes count."""

import json
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model(folder: Path, shards: int = 1, **config: object) -> Path:
    """Write a model's files, so that nothing is lacking."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (folder / "tokenizer.json").write_text("{}")
    names = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
    if shards == 1:
        names = ["model.safetensors"]
    else:
        index = {"weight_map": {f"layer{n}": name for n, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names:
        (folder / name).write_bytes(b"weights")
    return folder


def cached_model(
    cache: Path, name: str, commit: str = COMMIT, revision: str = "main", shards: int = 1
) -> Path:
    """Write a model into a cache as huggingface_hub does, and return its folder."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    return model(home / "snapshots" / commit, shards)
