"""Training runs of a second: invented posts, and a config for a tiny base."""

import json
import shutil
from pathlib import Path
from typing import Any

from hsd.config.train_config import TrainConfig

TAILS = ("", " on monday", " and my neighbours cook the best food in town, says the whole street")


def posts(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Return rows of three lengths, every second one hate; `first` starts the numbers."""
    return [
        {
            "id": f"p{n}",
            "text": f"number {n}: "
            + ("they are all liars and should leave" if n % 2 else "the new bakery opens")
            + TAILS[n % 3],
            "label": "hate" if n % 2 else "normal",
        }
        for n in range(first, first + count)
    ]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows to a file and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(base: Path, folder: Path, rows: int = 11, validation: int = 5, **parts: Any) -> Any:
    """Return the config of the run `folder/run` on `rows` posts; `parts` change its sections.

    Without changes: 3 epochs of 3 steps of 4 rows, a validation and a checkpoint after each
    epoch, dropout, and a learning rate that moves a tiny model visibly.
    """
    data = {"train_file": str(jsonl(folder / "train.jsonl", posts(rows)))}
    if validation:
        file = jsonl(folder / "validation.jsonl", posts(validation, first=1000))
        data["validation_file"] = str(file)
    sections = {
        "model": {"name": str(base), "device": "cpu"},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "data": data,
        "prompt": {"template": "baseline", "strategy": "standard"},
        "training": {
            "batch_size": 2,
            "accumulation": 2,
            "epochs": 3,
            "learning_rate": 0.02,
            "log_every_steps": 2,
        },
        "output_dir": str(folder / "run"),
    }
    for name, part in parts.items():
        inside = sections.get(name)
        sections[name] = inside | part if isinstance(inside, dict) else part
    return TrainConfig.model_validate_json(json.dumps(sections))


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl but for their speed, which no two runs share."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows]


def adapter_bytes(run: Path) -> bytes:
    """Return the exported adapter's weights as they lie on the disk."""
    return (run / "adapter_model.safetensors").read_bytes()


def with_nan_word(base: Path, folder: Path, word: str) -> Path:
    """Return a copy of a base whose embedding of the last token of `word` is not a number."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    copy = shutil.copytree(base, folder)
    weights = load_file(copy / "model.safetensors")
    token = AutoTokenizer.from_pretrained(copy).encode(word, add_special_tokens=False)[-1]
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy
