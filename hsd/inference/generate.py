"""Replies to encoded prompts, in batches, each stopped when its JSON object closes."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from hsd.prompts.answers import object_end
from hsd.prompts.render import Encoded


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote. `cut_off`: it ran into the token limit. `seconds`: its share of time.

    `score` is P(hate) where labels were scored.
    """

    id: str
    text: str
    cut_off: bool
    seconds: float
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """How replies are made."""

    max_new_tokens: int
    batch_size: int
    temperature: float = 0.0
    seed: int = 42


class JsonClosed(StoppingCriteria):
    """A row is finished when the first JSON object in its reply is complete.

    Only tokens with a closing brace can finish one, so text is decoded for those alone.
    """

    def __init__(self, tokenizer: Any, prompt_width: int) -> None:
        self._tokenizer, self._width = tokenizer, prompt_width

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Return one flag a row (rows,) from the ids so far (rows, tokens)."""
        last = self._tokenizer.batch_decode(input_ids[:, -1:])
        closed = [
            "}" in text and self._closes(row) for text, row in zip(last, input_ids, strict=True)
        ]
        return torch.tensor(closed, device=input_ids.device)

    def _closes(self, row: torch.Tensor) -> bool:
        return object_end(self._tokenizer.decode(row[self._width :])) is not None


def generate(
    model: Any, tokenizer: Any, rows: Sequence[Encoded], stop_ids: Sequence[int], asking: Asking
) -> Iterator[list[Reply]]:
    """Yield the replies of each batch; the longest prompts come first.

    Longest first, so that memory runs out at once or never. Sampled replies (temperature > 0) are
    made one at a time with a seed of their own, so they depend on nothing but seed and row.
    """
    size = 1 if asking.temperature > 0 else asking.batch_size
    ordered = longest_first(rows)
    for at in range(0, len(ordered), size):
        batch = ordered[at : at + size]
        started = time.monotonic()
        texts = _answer(model, tokenizer, batch, stop_ids, asking)
        share = (time.monotonic() - started) / len(batch)
        yield [
            Reply(row.id, text, cut, share) for row, (text, cut) in zip(batch, texts, strict=True)
        ]


def longest_first(rows: Iterable[Encoded]) -> list[Encoded]:
    """Return rows in the order they are answered in."""
    return sorted(rows, key=lambda row: (-len(row.prompt), row.id))


def _answer(
    model: Any, tokenizer: Any, batch: Sequence[Encoded], stop_ids: Sequence[int], asking: Asking
) -> list[tuple[str, bool]]:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop_ids[0]
    ids, mask = left_padded([row.prompt for row in batch], pad, model.device)
    sampling = asking.temperature > 0
    if sampling:
        torch.manual_seed(_row_seed(asking.seed, batch[0].id))
    settings = GenerationConfig(
        max_new_tokens=asking.max_new_tokens,
        do_sample=sampling,
        temperature=asking.temperature if sampling else None,
        top_k=0 if sampling else None,  # the library's default samples among 50 tokens only
        eos_token_id=list(stop_ids),
        pad_token_id=pad,
    )
    stopping = StoppingCriteriaList([JsonClosed(tokenizer, ids.shape[1])])
    with torch.inference_mode(), _plain_decoding(model):
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            stopping_criteria=stopping,
        )
    return [_read(tokenizer, row[ids.shape[1] :].tolist(), stop_ids, asking) for row in out]


@contextmanager
def _plain_decoding(model: Any) -> Iterator[None]:
    """Within the block the base's own generation settings do not count.

    The library takes them for everything that a caller leaves open: a base that ships a
    repetition penalty or beams would not be greedy, and its replies would depend on the padding.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, inner.generation_config = inner.generation_config, GenerationConfig()
    try:
        yield
    finally:
        inner.generation_config = own


def left_padded(
    prompts: Sequence[Sequence[int]], pad: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask (rows, tokens), prompts against the right edge."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask


def _read(
    tokenizer: Any, new: list[int], stop_ids: Sequence[int], asking: Asking
) -> tuple[str, bool]:
    """Return a row's own text, without its stop token and what the batch made it wait for."""
    end = next((at for at, token in enumerate(new) if token in stop_ids), None)
    kept = new if end is None else new[:end]
    text = tokenizer.decode(kept, skip_special_tokens=False)
    closed = object_end(text)
    if closed is not None:
        return text[:closed], False
    return text, end is None and len(new) >= asking.max_new_tokens


def _row_seed(seed: int, id: str) -> int:
    return int.from_bytes(sha256(f"{seed}/{id}".encode()).digest()[:7], "big")
