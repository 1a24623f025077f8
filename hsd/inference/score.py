"""P(hate) per row, read from the model's own probabilities of the two answers.

The answer's opening (`{"classification": "`) is forced, and each label string is scored whole, up
to the token that closes it. Scores of first tokens alone mislead: `hate` is two tokens where
`normal` is one, and a label that is not closed may go on to be another word.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, isnan
from typing import Any

import torch

from hsd.errors import EvaluationError, ModelError
from hsd.example import LABELS
from hsd.inference.replies import Engine, Reply
from hsd.model.padding import left_padded, positions
from hsd.prediction import label_of
from hsd.prompts.chat import Chat, answer_json
from hsd.prompts.render import Encoded, Renderer, fork


@dataclass(frozen=True, slots=True)
class Candidates:
    """Token ids of the answers: what they share, and how each label goes on, hate first."""

    opening: list[int]
    tails: tuple[list[int], list[int]]


def candidates(
    renderer: Renderer, tokenizer: Any, *, has_system: bool, rationale: bool
) -> Candidates:
    """Return how the two answers are spelled in tokens after the prompt."""
    system = "x" if has_system else ""
    hate, normal = (
        renderer.encode(
            Chat(
                id="", system=system, before="", answer=answer_json(label, "x" if rationale else "")
            )
        ).answer
        for label in LABELS
    )
    shared = fork(hate, normal)
    tails = tuple(
        _closed(tokenizer, ids[shared:], label)
        for ids, label in zip((hate, normal), LABELS, strict=True)
    )
    return Candidates(hate[:shared], (tails[0], tails[1]))


def plain_scoring(model: Any, tokenizer: Any, spelled: Candidates, batch_size: int) -> Engine:
    """Return the plain engine that scores labels."""
    return Engine(partial(score_batch, model, tokenizer, spelled), batch_size)


def score_batch(
    model: Any, tokenizer: Any, spelled: Candidates, batch: Sequence[Encoded]
) -> list[Reply]:
    """Return the likelier answer of each row with its P(hate), by the plain engine."""
    started = time.monotonic()
    pad = tokenizer.pad_token_id or 0
    found = log_probabilities(model, [row.prompt for row in batch], spelled, pad).tolist()
    return scored(batch, found, time.monotonic() - started)


def scored(
    batch: Sequence[Encoded], found: Sequence[Sequence[float]], seconds: float
) -> list[Reply]:
    """Return replies from the labels' log-probabilities, hate first, and the batch's time.

    Raises EvaluationError for a row whose probabilities are not numbers: it has no likelier label.
    """
    share = seconds / len(batch)
    pairs = zip(batch, found, strict=True)
    return [_reply(row.id, hate, normal, share) for row, (hate, normal) in pairs]


def log_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], spelled: Candidates, pad: int
) -> torch.Tensor:
    """Return the log-probability of each label string (rows, 2) after prompt and opening."""
    # 1. The prompts with the answer's opening, padded on the left so that all end together.
    ids, mask = left_padded([[*p, *spelled.opening] for p in prompts], pad, model.device)
    places = positions(mask)  # (rows, longest prompt)
    rows, ways = len(prompts), len(spelled.tails)
    longest = max(map(len, spelled.tails))
    # 2. Both labels' tokens, padded on the right: (2, longest). Label `w` of row `r` is line
    #    `2 r + w` of everything below.
    tails = torch.tensor(
        [t + [pad] * (longest - len(t)) for t in spelled.tails], device=model.device
    )
    real = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in spelled.tails])
    with torch.inference_mode():
        # 3. One forward of the prompts says how likely each label's first token is.
        first = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = first.logits.repeat_interleave(ways, 0)  # (rows x 2, 1, vocab)
        if longest > 1:
            # 4. Each row's keys and values stand twice, and both labels go on from them at once.
            cache = _cache_of(first)
            cache.batch_repeat_interleave(ways)
            steps = torch.arange(longest - 1, device=model.device)
            rest = model(
                input_ids=tails[:, :-1].repeat(rows, 1),
                attention_mask=torch.cat(
                    [mask.repeat_interleave(ways, 0), mask.new_ones(rows * ways, longest - 1)], 1
                ),
                position_ids=places[:, -1:].repeat_interleave(ways, 0) + 1 + steps,
                past_key_values=cache,
                use_cache=True,
            )
            logits = torch.cat([logits, rest.logits], 1)  # (rows x 2, longest, vocab)
        # 5. Of each step the log-probability of the label's own token: (rows x 2, longest).
        taken = logits.float().log_softmax(-1).gather(2, tails.repeat(rows, 1)[..., None])[..., 0]
    # 6. Summed over its real tokens: padding counts nothing.
    return (taken * real.repeat(rows, 1).to(taken.device)).sum(1).view(rows, ways)


def _cache_of(output: Any) -> Any:
    """Return the keys and values that both labels go on from."""
    if (cache := getattr(output, "past_key_values", None)) is None:
        raise ModelError(
            "the base keeps no keys and values (as Mamba does not), so labels cannot be scored; "
            "use --mode generate, or another base."
        )
    return cache


def _closed(tokenizer: Any, tail: Sequence[int], label: str) -> list[int]:
    """Return a label's tokens up to the one that holds its closing quote."""
    for end in range(1, len(tail) + 1):
        if '"' in tokenizer.decode(tail[:end]):
            return list(tail[:end])
    raise AssertionError(f"the answer for {label} does not close its label")


def _reply(id: str, hate: float, normal: float, seconds: float) -> Reply:
    if isnan(normal - hate):
        raise EvaluationError(
            f"row {id}: the model gives its labels no probability (log-probabilities: hate {hate}, "
            f"normal {normal}). A weight that is not a number does this, and so does a number "
            "format that overflows: look at the adapter, or set model.dtype=float32."
        )
    probability = 1 / (1 + exp(min(normal - hate, 700.0)))
    label = label_of(probability)
    return Reply(id, answer_json(label), False, seconds, probability, label)
