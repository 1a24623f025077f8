"""A model that learns, held still for a moment to be judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bitsandbytes.nn import Linear4bit


@contextmanager
def judging(model: Any) -> Iterator[None]:
    """Within the block nothing is dropped out; after it the model can learn on.

    4-bit layers stay as they are: on some CPUs bitsandbytes packs their weights anew at the first
    forward in evaluation mode, for a kernel that has no backward.
    """
    learning = model.training
    model.eval()
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.train()
    try:
        yield
    finally:
        model.train(learning)
