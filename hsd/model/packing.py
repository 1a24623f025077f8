"""Rows behind one shared prefix, packed into one sequence: each sees the prefix and itself.

All rows of one strategy start with the same tokens, up to the post. Their keys and values are
computed once (`Prefix`) and the rows' own tokens stand behind them one after the other, without
padding; a mask keeps the rows apart. Known as prefix sharing or prefix grouping (arXiv 2410.20305,
arXiv 2506.05433); exact, since a token's state depends on what it sees and on its position alone.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from transformers import Cache

from hsd.model.flex_mask import FLEX, MaskMod, block_mask, mask_mod, missing
from hsd.model.memory import is_memory_error
from hsd.model.prefix_cache import KeysValues, recording_cache, standing_cache

PREFIX = -1
"""The row number of prefix tokens, which every row sees."""

FILLER = -2
"""The row number of tokens that only fill up a block; they see each other and the prefix's first,
as attention that sees nothing has no result."""

TRUNK = -1
"""The branch number of tokens that all branches of their row see."""

_FORM = re.compile(r"\b(sizes?|shapes?|dim|broadcast|expand)|mask|bool", re.I)
"""Words of torch's refusals of a tensor's form, such as a mask's."""

_DEVICES = re.compile(r"cuda|cublas|cudnn|nccl|\bdevices?\b", re.I)
"""Words of errors that have another cause, whatever else they speak of."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Tokens of several rows in one sequence; each field is (tokens,), on the model's device.

    A row may fork into branches (the ways an answer may go on), which do not see each other.
    `position` is the place in the row as if it stood alone, prefix included.
    """

    ids: torch.Tensor
    position: torch.Tensor
    row: torch.Tensor
    branch: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of the shared tokens, layer by layer."""

    tokens: Packed
    layers: list[KeysValues]

    def cache(self) -> Cache:
        """Return a cache for forwards behind the prefix, which stays as it is."""
        return standing_cache(self.layers)

    def detached(self) -> "Prefix":
        """Return the same numbers as leaves that collect gradients of their own.

        What nothing learned went into (keys, where only values have an adapter) needs none.
        """

        def leaf(tensor: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = tensor.detach().requires_grad_(tensor.requires_grad)
            return made

        return Prefix(self.tokens, [(leaf(keys), leaf(values)) for keys, values in self.layers])


def pack(rows: Sequence[Sequence[int]], start: int, device: Any = "cpu") -> Packed:
    """Return rows of ids one after the other; each starts at position `start`."""
    return Packed(
        ids=_long([token for row in rows for token in row], device),
        position=_long([start + at for row in rows for at in range(len(row))], device),
        row=_long([number for number, row in enumerate(rows) for _ in row], device),
        branch=_long([TRUNK for row in rows for _ in row], device),
    )


def pack_prefix(ids: Sequence[int], device: Any = "cpu") -> Packed:
    """Return the tokens that all rows share."""
    packed = pack([ids], 0, device)
    return Packed(packed.ids, packed.position, packed.row + PREFIX, packed.branch)


def joined_rows(parts: Iterable[Packed]) -> Packed:
    """Return parts as one sequence; their row numbers stay."""
    parts = list(parts)
    return Packed(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Packed)))


def compute_prefix(model: Any, ids: Sequence[int]) -> Prefix:
    """Return the prefix's keys and values, in the graph when gradients are on."""
    tokens = pack_prefix(ids, model.device)
    cache = recording_cache()
    if ids:
        read_packed(model, tokens, tokens, cache, keep=1)
    return Prefix(tokens, [(layer.keys, layer.values) for layer in cache.layers])


def logits_of(model: Any, new: Packed, keep: torch.Tensor, prefix: Prefix | None) -> torch.Tensor:
    """Return logits (kept, vocab) of the tokens at the places `keep` of `new`.

    Without a prefix, nothing stands before `new`, and no cache is made.
    """
    before = prefix if prefix is not None and prefix.layers else None
    new = in_whole_blocks(model, new)
    seen = joined_rows([before.tokens, new]) if before else new
    return read_packed(model, new, seen, before.cache() if before else None, keep)


def read_packed(
    model: Any, new: Packed, seen: Packed, cache: Any, keep: torch.Tensor | int
) -> torch.Tensor:
    """Let the model read `new`, the end of all that is `seen`; return logits (kept, vocab).

    `cache` holds the keys and values of what was seen before; None where nothing was.
    """
    out = model(
        input_ids=new.ids[None],  # (1, new)
        position_ids=new.position[None],  # (1, new): of each row from the prefix's end on
        attention_mask=attention_masks(model, new, seen),  # (1, 1, new, seen)
        past_key_values=cache,  # keys and values of `seen` before `new`
        use_cache=False,  # none of the model's own
        logits_to_keep=keep,
    )
    return at_least_float32(out.logits[0])  # (kept, vocab)


def at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in float32, or as they are where they have more digits."""
    more: torch.Tensor = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return more


def obstacle(model: Any) -> str | None:
    """Return why a model cannot be given masks made here; None when it takes them.

    That it also follows them is for a check on real rows to say.
    """
    config = model.config.get_text_config()
    if config._attn_implementation not in ("eager", "sdpa", FLEX):
        return f"its attention ({config._attn_implementation}) takes no mask made elsewhere"
    kinds = set(getattr(config, "layer_types", None) or ())
    if odd := sorted(kinds - {"full_attention", "sliding_attention"}):
        return f"its layers of the kind {odd[0]} take no mask made elsewhere"
    try:
        with torch.inference_mode():
            compute_prefix(model, [3, 4])
    except (ValueError, TypeError, IndexError, RuntimeError) as error:  # as ALiBi models raise
        if isinstance(error, RuntimeError) and not _speaks_of_masks(error):
            raise  # memory, CUDA, cuBLAS, weights on another device: no word on masks
        return f"it takes no mask made elsewhere ({type(error).__name__})"
    return None


def _speaks_of_masks(error: RuntimeError) -> bool:
    """Whether torch refused a tensor's shape or type, as it does a mask in the wrong form."""
    about_devices = isinstance(error, torch.AcceleratorError) or _DEVICES.search(str(error))
    return not about_devices and not is_memory_error(error) and bool(_FORM.search(str(error)))


def attention_masks(model: Any, queries: Packed, keys: Packed) -> Any:
    """Return the model's `attention_mask` for `queries` that look at `keys`.

    One mask (1, 1, queries, keys) for all layers, or one for each kind of layer.

    A model given whole masks does not make its own. Windows are counted on positions, since a
    packed sequence has other tokens between.
    """
    config = model.config.get_text_config()

    def as_mask(window: int | None) -> Any:
        if config._attn_implementation == FLEX:
            return block_mask(mask_of(queries, keys, window), len(queries), len(keys), model.device)
        form = _Form(config._attn_implementation == "eager", model.dtype)
        return form(visible_positions(queries, keys, window))

    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if "sliding_attention" in kinds:
        return {"full_attention": as_mask(None), "sliding_attention": as_mask(window)}
    # Models of one kind of layer (Mistral) have a window for all of them, or none.
    return as_mask(None if "full_attention" in kinds else window)


def visible_positions(queries: Packed, keys: Packed, window: int | None = None) -> torch.Tensor:
    """Return which keys each query sees, (queries, keys) of bool."""
    every = torch.arange(len(queries), device=queries.ids.device)[:, None]
    return _sees(queries, keys, window, every, torch.arange(len(keys), device=keys.ids.device))


def mask_of(queries: Packed, keys: Packed, window: int | None = None) -> MaskMod:
    """Return the same as a function of one query's and one key's place, for flex attention."""
    return mask_mod(lambda query, key: _sees(queries, keys, window, query, key))


def _sees(queries: Packed, keys: Packed, window: int | None, query: Any, key: Any) -> torch.Tensor:
    """Return whether queries at some places see keys at others.

    A query sees the prefix and its own row, trunk and own branch, up to its own position, and
    with a window only the last `window` positions, its own included.
    """
    # Compared, never subtracted: numbers of (queries, keys) would take eight times the mask.
    at, seen = queries.position[query], keys.position[key]
    # 1. Of the rows: the shared prefix, and the query's own row.
    row = keys.row[key]
    own = row == queries.row[query]
    # 2. Of that row's branches: the trunk that all of them go on from, and the query's own.
    branch = (keys.branch[key] == TRUNK) | (keys.branch[key] == queries.branch[query])
    # 3. Never ahead. Positions count from the start of the prompt, so this is the causal mask
    #    that the row would have by itself, wherever it stands in the packed sequence.
    sees = ((row == PREFIX) | (own & branch)) & (seen <= at)
    # 4. Windows are counted on positions too, for the same reason.
    return sees if window is None else sees & (seen > at - window)


def in_whole_blocks(model: Any, new: Packed) -> Packed:
    """Return tokens with some behind them that nobody else sees, where flex attention wants it."""
    more = missing(len(new))
    if not more or model.config.get_text_config()._attn_implementation != FLEX:
        return new
    filler = torch.zeros(more, dtype=torch.long, device=new.ids.device)
    return joined_rows([new, Packed(filler, filler, filler + FILLER, filler + TRUNK)])


def shared_length(rows: Sequence[list[int]]) -> int:
    """Return how many first ids all rows have in common."""
    if not rows:
        return 0
    low, high = min(rows), max(rows)  # what these two share, all between them share
    return next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))


def answer_places(lengths: Sequence[int], answers: Sequence[int]) -> list[int]:
    """Return the places in a packed sequence whose logits speak of the answers' tokens.

    Row `i` has `lengths[i]` tokens, of which the last `answers[i]` are its answer; the token before
    speaks of the first. One place for each token of each answer, in order.
    """
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    return [
        at - 1
        for (_, end), answer in zip(pairwise(ends), answers, strict=True)
        for at in range(end - answer, end)
    ]


@dataclass(frozen=True, slots=True)
class _Form:
    """How a model's attention reads a mask: added to the scores, or as bool."""

    additive: bool
    dtype: torch.dtype

    def __call__(self, sees: torch.Tensor) -> torch.Tensor:
        mask = sees[None, None]
        if not self.additive:
            return mask
        hidden = torch.finfo(self.dtype).min
        return torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill(
            ~mask, hidden
        )


def _long(values: list[int], device: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)
