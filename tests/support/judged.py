"""A short run, its merge, and how both judge the same posts."""

from pathlib import Path
from typing import Any

import small_runs

from hsd.config.evaluate_config import EvalConfig
from hsd.config.merge_config import MergeConfig
from hsd.config.model_config import ModelConfig
from hsd.evaluation.evaluate import evaluate
from hsd.model.merge import merge
from hsd.training.training_run import train

ONCE = {"epochs": 1, "learning_rate": 0.01}


def trained(base: Path, folder: Path, lora: dict[str, Any], **parts: Any) -> Path:
    """Return the folder of a run of one epoch over four posts."""
    settings: dict[str, Any] = {"lora": lora, "training": ONCE, **parts}
    return train(small_runs.config(base, folder, rows=4, validation=0, **settings)).folder


def merged(adapter: Path, folder: Path) -> dict[str, Any]:
    """Merge an adapter into `folder`; return what the merge's check found."""
    config = MergeConfig(adapter_path=adapter, output_dir=folder, device="cpu")
    return dict(merge(config).figures)


def scores(model: Path, folder: Path) -> list[float | None]:
    """Return P(hate) of four posts, as an evaluation in `folder` gives it."""
    rows = small_runs.jsonl(folder / "rows.jsonl", small_runs.posts(4))
    config = EvalConfig(
        model=ModelConfig(name=str(model), device="cpu"),
        data_file=str(rows),
        output_dir=folder / f"by_{model.name}",
    )
    return [prediction.score for prediction in evaluate(config).predictions]
