"""The two models that are worked on: a base to train, and one that answers in JSON."""

from pathlib import Path

from hsd.config.merge_config import MergeConfig
from hsd.config.model_config import ModelConfig
from hsd.config.train_config import (
    DataConfig,
    LoraConfig,
    PromptConfig,
    TrainConfig,
    TrainingConfig,
)
from hsd.model.base import Base, load_base
from hsd.model.merge import merge
from hsd.training.training_run import train

RANK = 32
LORA = LoraConfig(rank=RANK, alpha=RANK, dropout=0.0)
SHIPPED = PromptConfig(template="baseline", strategy="standard")


def plain(name: str) -> Base:
    """Return the base in float32 on the CPU."""
    return load_base(model_config(name))


def learned(name: str, work: Path, steps: int) -> Path:
    """Return a folder of plain weights that answer in JSON, made once: trained, then merged.

    The untouched base writes prose, which no evaluation of a trained detector has to read.
    """
    adapter, merged = work / f"learned-{steps}", learned_folder(work, steps)
    train(
        TrainConfig(
            model=model_config(name),
            lora=LoraConfig(rank=16, alpha=32, dropout=0.0, target_modules="all-linear"),
            data=DataConfig(train_file="embedded"),
            prompt=SHIPPED,
            training=TrainingConfig(
                max_steps=steps, accumulation=2, learning_rate=2e-3, warmup_steps=min(3, steps - 1)
            ),
            output_dir=adapter,
        )
    )
    merge(MergeConfig(adapter_path=adapter, output_dir=merged))
    return merged


def learned_folder(work: Path, steps: int) -> Path:
    """Return where `learned` puts its model, which is whole when it is there."""
    return work / f"learned-{steps}-merged"


def model_config(name: str) -> ModelConfig:
    """Return the base as all contenders get it."""
    return ModelConfig(name=name, device="cpu", dtype="float32", quantization="none")
