"""A model for the rows of one process: on its device, and what is said where it does not fit."""

from collections.abc import Callable
from typing import Any

import torch

from hsd.errors import EvaluationError
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.model.memory import memory_error_as
from hsd.model.placement import place

Facts = dict[str, Any]


def load_for(
    plan: EvaluationPlan, load: Callable[[], tuple[Any, Facts]], check_stop: Callable[[], None]
) -> tuple[Any, Facts]:
    """Return the model on this rank's device, and its facts; raises as `check_stop`."""
    device = place(plan.config.model).device
    if device != "cpu":
        torch.cuda.set_device(device)  # some kernels start on the current one, whatever they get
    check_stop()
    with memory_error_as(full_memory(device)):
        loaded = load()
    check_stop()
    return loaded


def full_memory(device: str) -> EvaluationError:
    """Return what is said where one row is too much for a device's memory."""
    whose = "this machine's" if device == "cpu" else "the GPU's"
    return EvaluationError(
        f"{whose} memory is full with one row at a time. End what else runs on it and run the "
        "same command, which goes on from the rows that are answered; or take "
        "model.quantization=nf4 or a shorter --max-length."
    )
