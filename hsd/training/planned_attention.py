"""The attention code that a run learns with, as far as it is known without trying it."""

from transformers import PretrainedConfig

from hsd.config.train_config import TrainConfig
from hsd.model.families import why_not_flex
from hsd.model.quantization import skeleton


def may_take_flex(config: TrainConfig, device: str) -> bool:
    """Return whether a run may take flex attention by itself.

    Rows that are computed whole gain nothing from it: each length would be compiled anew.
    """
    left_open = config.model.attention == "auto" and config.training.prefix_sharing != "off"
    return left_open and device != "cpu"


def planned_attention(config: TrainConfig, base: PretrainedConfig, device: str) -> str:
    """Return the attention code that a run is planned with: flex where nothing is against it."""
    if not may_take_flex(config, device):
        return config.model.attention
    return "auto" if why_not_flex(skeleton(base), device) else "flex"
