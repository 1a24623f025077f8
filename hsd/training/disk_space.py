"""Room for checkpoints, and whether the adapter fits the base, before any weight is read."""

from hsd.config.train_config import TrainConfig
from hsd.io.files import require_space
from hsd.model.adapter import new_adapter
from hsd.model.base import Base, BaseFiles
from hsd.model.describe import trainable
from hsd.model.memory_parts import checkpoints_gb
from hsd.model.placement import place
from hsd.model.quantization import Quantization, skeleton


def adapter_parameters(config: TrainConfig, source: BaseFiles) -> int:
    """Return how many parameters learn. Raises ModelError when a target is not in the base."""
    hollow = Base(skeleton(source.config), source, place(config.model), Quantization("none", ""))
    return int(trainable(new_adapter(hollow, config.lora, config.seed))["trainable_parameters"])


def require_space_for_checkpoints(config: TrainConfig, parameters: int) -> None:
    """Raise PreflightError when the checkpoints, one in the making and the best do not fit."""
    needed_gb = checkpoints_gb(parameters, config.training.keep_checkpoints)
    require_space(config.output_dir, needed_gb, "keeping checkpoints")
