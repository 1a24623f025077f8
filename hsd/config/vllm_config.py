"""How vLLM answers, where it does."""

from typing import Literal

from pydantic import PositiveInt

from hsd.config.strict import Strict


class VllmConfig(Strict):
    """The engine vLLM, which runs in a process and an environment of its own."""

    tensor_parallel: PositiveInt = 1
    """Over how many GPUs vLLM splits the model."""
    check: Literal["on", "off"] = "on"
    """Whether hsd answers a few rows with its own engine first, and compares. `off` is for a model
    that fits no single device: then no number of vLLM is compared, and the run says so."""
