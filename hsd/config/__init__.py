"""Strict typed configs, presets and how they are read."""

from hsd.config.evaluate import EvalConfig
from hsd.config.model import ModelConfig
from hsd.config.train import TrainConfig

__all__ = ["EvalConfig", "ModelConfig", "TrainConfig"]
