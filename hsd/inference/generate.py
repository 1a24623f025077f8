"""Replies the plain way: padded batches in the library's own loop. The reference for all others."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from hsd.inference.replies import Asking, Closing, Engine, Reply, read_tokens, row_seed
from hsd.model.padding import left_padded
from hsd.prompts.render import Encoded


class JsonClosed(StoppingCriteria):
    """A row is finished when the first JSON object in its reply is complete."""

    def __init__(self, tokenizer: Any, prompt_width: int) -> None:
        self._closes, self._width = Closing(tokenizer), prompt_width

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Return one flag a row (rows,) from the ids so far (rows, tokens)."""
        new = input_ids[:, self._width :].tolist()
        return torch.tensor([self._closes(row) for row in new], device=input_ids.device)


def plain_writing(model: Any, tokenizer: Any, stop_ids: Sequence[int], asking: Asking) -> Engine:
    """Return the plain engine that writes replies.

    Sampled replies (temperature > 0) are made one at a time with a seed of their own, so they
    depend on nothing but seed and row.
    """
    answer = partial(generate_batch, model, tokenizer, stop_ids, asking)
    return Engine(answer, 1 if asking.temperature > 0 else asking.batch_size)


def generate_batch(
    model: Any, tokenizer: Any, stop_ids: Sequence[int], asking: Asking, batch: Sequence[Encoded]
) -> list[Reply]:
    """Return the replies to rows that are asked at once; sampled ones have to come alone."""
    started = time.monotonic()
    if asking.temperature > 0:
        (row,) = batch
        torch.manual_seed(row_seed(asking.seed, row.id))
    out = _generated(model, tokenizer, [row.prompt for row in batch], stop_ids, asking).sequences
    width = max(len(row.prompt) for row in batch)
    texts = [
        read_tokens(tokenizer, new, stop_ids, asking.max_new_tokens)
        for new in out[:, width:].tolist()
    ]
    share = (time.monotonic() - started) / len(batch)
    return [Reply(row.id, text, cut, share) for row, (text, cut) in zip(batch, texts, strict=True)]


def greedy_with_log_probabilities(
    model: Any, tokenizer: Any, prompt: Sequence[int], stop_ids: Sequence[int], max_new_tokens: int
) -> tuple[list[int], torch.Tensor]:
    """Return one prompt's greedy ids and what each step gave all tokens (steps, vocab)."""
    out = _generated(model, tokenizer, [prompt], stop_ids, Asking(max_new_tokens, 1), logits=True)
    scores = torch.cat(out.logits).float().log_softmax(-1)
    return out.sequences[0, len(prompt) :].tolist(), scores


def _generated(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Sequence[int],
    asking: Asking,
    *,
    logits: bool = False,
) -> Any:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop_ids[0]
    ids, mask = left_padded(prompts, pad, model.device)
    sampling = asking.temperature > 0
    settings = GenerationConfig(
        max_new_tokens=asking.max_new_tokens,
        do_sample=sampling,
        temperature=asking.temperature if sampling else None,
        top_k=0 if sampling else None,  # the library's default samples among 50 tokens only
        eos_token_id=list(stop_ids),
        pad_token_id=pad,
        output_logits=logits,
        return_dict_in_generate=True,
    )
    stopping = StoppingCriteriaList([JsonClosed(tokenizer, ids.shape[1])])
    with torch.inference_mode(), _plain_decoding(model):
        return model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            stopping_criteria=stopping,
        )


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
