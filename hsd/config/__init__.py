"""Strict typed configs, presets and how they are read."""

from hsd.config.evaluate_config import EvalConfig
from hsd.config.model_config import ModelConfig
from hsd.config.train_config import TrainConfig

__all__ = ["EvalConfig", "ModelConfig", "TrainConfig"]
