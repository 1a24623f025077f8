"""Activation checkpointing: what a layer keeps for its gradient is computed again, not held."""

from typing import Any

from transformers.modeling_layers import GradientCheckpointingLayer


def recompute_activations(model: Any, on: bool) -> None:
    """Let a model compute its layers again in the backward, behind a shared prefix too, or not."""
    if not on:
        model.activation_checkpointing_disable()
        model.disable_input_require_grads()  # the library leaves this behind
        return
    model.activation_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            # Else the layer drops the cache, as one that grows would be wrong the second time.
            # Those of prefix_cache.py are not.
            module._can_checkpoint_with_cache = True
