"""Caches that may be read twice: activation checkpointing computes each layer again.

transformers' own layers grow at each forward, so that a layer that is computed again in the
backward would see its tokens twice. These give the same answer however often they are asked.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Of one layer: two tensors (1, heads, tokens, width)."""


class RecordingLayer(DynamicLayer):
    """Keeps the first keys and values that it is given, in the graph; nothing stands before."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> KeysValues:
        """Return what it is given."""
        if not self.is_initialized:
            _fill(self, (key_states, value_states))
        return key_states, value_states


class StandingLayer(DynamicLayer):
    """Keys and values that stand before new ones, and stay as they are."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> KeysValues:
        """Return both, one after the other."""
        keys = torch.cat([self.keys, key_states], dim=-2)
        return keys, torch.cat([self.values, value_states], dim=-2)


def recording_cache() -> Cache:
    """Return an empty cache. It keeps every layer whole; the masks cut the windows."""
    return Cache(layer_class_to_replicate=RecordingLayer)


def standing_cache(layers: Sequence[KeysValues]) -> Cache:
    """Return a cache of what was computed before, for any number of forwards."""
    return Cache(layers=[_fill(StandingLayer(), layer) for layer in layers])


def _fill(layer: DynamicLayer, states: KeysValues) -> DynamicLayer:
    layer.dtype, layer.device = states[0].dtype, states[0].device
    layer.keys, layer.values = states
    layer.is_initialized = True
    return layer
