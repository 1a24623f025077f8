"""Keys and values of rows behind a shared prefix, which rows can leave when they are finished."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from hsd.model.memory_parts import BUFFER_ROOM
from hsd.model.packing import PREFIX, Packed, Prefix, joined_rows, read_packed


class GrowingLayer(DynamicLayer):
    """One layer's keys and values with room behind them: a new token is written, nothing copied."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: list[torch.Tensor] = []
        self._length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (1, heads, tokens, width) of each and return all there is."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = [key_states[:, :, :0], value_states[:, :, :0]]
        start, end = self._length, self._length + key_states.shape[2]
        if end > self._buffers[0].shape[2]:
            self._buffers = [
                self._larger(buffer, int(end * BUFFER_ROOM)) for buffer in self._buffers
            ]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self._show(end)
        return self.keys, self.values

    def keep(self, places: torch.Tensor) -> None:
        """Drop everything but `places`, which are in order."""
        for buffer in self._buffers:
            buffer[:, :, : len(places)] = buffer.index_select(2, places)
        self._show(len(places))

    def _larger(self, buffer: torch.Tensor, tokens: int) -> torch.Tensor:
        one, heads, _, width = buffer.shape
        larger = buffer.new_empty(one, heads, tokens, width)
        larger[:, :, : self._length] = buffer[:, :, : self._length]
        return larger

    def _show(self, length: int) -> None:
        self._length = length
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


class RowCache:
    """A model's memory of a prefix and of rows behind it; the prefix itself is only copied."""

    def __init__(self, model: Any, prefix: Prefix) -> None:
        self._model, self._seen = model, prefix.tokens
        self._cache = Cache(layer_class_to_replicate=GrowingLayer)
        for number, (keys, values) in enumerate(prefix.layers):
            self._cache.update(keys, values, number)

    def __len__(self) -> int:
        return len(self._seen)

    def read(self, new: Packed, keep: torch.Tensor) -> torch.Tensor:
        """Let the model read new tokens; return logits (kept, vocab) at the places `keep`."""
        self._seen = joined_rows([self._seen, new])
        return read_packed(self._model, new, self._seen, self._cache, keep)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        seen = self._seen
        wanted = torch.tensor([PREFIX, *rows], device=seen.row.device)
        places = torch.isin(seen.row, wanted).nonzero()[:, 0]
        self._seen = Packed(*(t[places] for t in (seen.ids, seen.position, seen.row, seen.branch)))
        for layer in self._cache.layers:
            layer.keep(places)
