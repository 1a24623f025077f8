"""A check before any row counts: a few rows answered behind a shared prefix and one by one.

In exact arithmetic both are the same. Rounding may tip a greedy choice between two tokens that are
all but equally likely, so what is compared is what the model said, not what was picked: the
log-probability that both engines give to the plain engine's answer, token by token. Where the texts
part nevertheless, the two tokens at that place have to be such a tie in the plain engine's own
probabilities. Sampled replies are checked greedily too: only the dice differ.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isinf
from statistics import median
from typing import Any

import torch

from hsd.inference.generate import greedy_with_log_probabilities
from hsd.inference.halving import in_batches
from hsd.inference.replies import Asking, longest_first
from hsd.inference.score import Candidates, log_probabilities
from hsd.inference.shared_generate import SharedGenerate, reply_log_probabilities
from hsd.inference.shared_score import SharedScore
from hsd.model.packing import Prefix, compute_prefix
from hsd.model.tolerance import (
    FACTOR,
    LEAST,
    ROWS_COARSE,
    ROWS_EXACT,
    TestPart,
    compared,
    exact_tolerance,
    longer_than_all,
    on_twin,
    spread,
)
from hsd.model.twin import PREFIX_TOKENS
from hsd.prompts.render import Encoded
from hsd.training.gradient_test import TAILS
from hsd.training.microbatches import StepPlan
from hsd.training.step import piece_log_probabilities

TOKENS = 24
"""Longest reply that is compared: JSON with a label and nothing else has about 14."""

TWIN_TOKENS = 5
"""The same on a twin, whose replies end nowhere."""

SPELLED = Candidates([3, 4], TAILS)
"""How the twin's labels are spelled."""


def rows_of_test(rows: Sequence[Encoded], *, coarse: bool = False) -> list[Encoded]:
    """Return the longest and the shortest row, with others between where numbers are coarse.

    Each is computed whole once more: at 64 rows four of them were half of the time.
    """
    return spread(longest_first(rows), ROWS_COARSE if coarse else ROWS_EXACT)


def check_twins_scores(model: Any) -> TestPart:
    """Return whether scores behind a prefix are right on the model's twin."""

    def check(twin: Any, rows: list[Encoded]) -> TestPart:
        shared = SharedScore(twin, _prefix(twin, rows), SPELLED)
        return check_scores(shared, twin, rows, SPELLED, len(rows))

    return on_twin(model, check)


def check_twins_replies(model: Any, tokenizer: Any, stop_ids: Sequence[int]) -> TestPart:
    """Return whether replies behind a prefix are right on the model's twin."""

    def check(twin: Any, rows: list[Encoded]) -> TestPart:
        asking = Asking(TWIN_TOKENS, len(rows))
        shared = SharedGenerate(twin, tokenizer, _prefix(twin, rows), stop_ids, asking)
        return check_replies(shared, twin, tokenizer, rows, stop_ids, len(rows))

    return on_twin(model, check)


def check_scores(
    shared: SharedScore, model: Any, rows: Sequence[Encoded], spelled: Candidates, batch_size: int
) -> TestPart:
    """Return whether scores behind a prefix are those of each row alone."""
    more = longer_than_all(rows)

    def padded(batch: Sequence[Encoded]) -> torch.Tensor:
        prompts = [row.prompt for row in (*batch, more)]
        return log_probabilities(model, prompts, spelled, 0)[:-1]

    plain = torch.cat([log_probabilities(model, [row.prompt], spelled, 0) for row in rows])
    packed = torch.cat(list(in_batches(rows, batch_size, shared.log_probabilities)))
    noise = torch.cat(list(in_batches(rows, batch_size, padded))) if _coarse(model) else ()
    # A label that tips needs no bound of its own: its lead is at most twice the mean difference.
    flipped = (plain[:, 0] > plain[:, 1]) != (packed[:, 0] > packed[:, 1])
    ties = [row.id for row, other in zip(rows, flipped.tolist(), strict=True) if other]
    found = compared(model, rows, _apart(packed, plain), _apart(noise, plain))
    return replace(found, ties=ties)


def check_replies(
    shared: SharedGenerate,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Encoded],
    stop_ids: Sequence[int],
    batch_size: int,
) -> TestPart:
    """Return whether greedy replies behind a prefix are those of each row alone."""
    limit = shared.asking.max_new_tokens
    plain = [
        greedy_with_log_probabilities(model, tokenizer, row.prompt, stop_ids, limit) for row in rows
    ]
    said = [ids for ids, _ in plain]
    alone = [scores[range(len(ids)), ids] for ids, scores in plain]
    written = [ids for batch in in_batches(rows, batch_size, shared.write) for ids in batch]
    packed = reply_log_probabilities(model, shared.prefix, rows, said, batch_size)
    padded = _padded(model, rows, said, batch_size) if _coarse(model) else []
    noise = _apart(padded, alone)
    found = compared(model, rows, _apart(packed, alone), noise)
    leads = [_lead(*one, other) for one, other in zip(plain, written, strict=True)]
    ties = [row.id for row, lead in zip(rows, leads, strict=True) if lead is not None]
    return _with_ties(replace(found, ties=ties), [lead or 0.0 for lead in leads], noise)


def _with_ties(found: TestPart, leads: list[float], noise: Sequence[torch.Tensor]) -> TestPart:
    """Return what was found, failed where replies part and the plain engine had a preference.

    Where numbers are coarse half of the rows decide, as on probabilities. Of two tokens each may
    be off, so a preference may be twice what a single token is allowed.
    """
    lead, allowed = max(leads), found.tolerance
    if noise:
        single = max(float(one.abs().max()) for one in noise)
        lead, allowed = lead if isinf(lead) else median(leads), 2 * (FACTOR * single + LEAST)
    if found.problem or lead <= allowed:
        return found
    problem = (
        f"rows ({', '.join(found.ties)}) are answered otherwise behind a shared prompt than alone, "
        f"which prefers its own token (by {lead:.2g} nats, {allowed:.2g} allowed)"
    )
    return replace(found, problem=problem)


def _padded(
    model: Any, rows: Sequence[Encoded], replies: Sequence[list[int]], batch_size: int
) -> list[torch.Tensor]:
    """Return the log-probability of each token of given replies, rows padded to one length."""
    whole = [replace(row, answer=reply) for row, reply in zip(rows, replies, strict=True)]
    more = longer_than_all(whole)

    def of_batch(batch: Sequence[Encoded]) -> list[torch.Tensor]:
        work = StepPlan("alone", [], [[*batch, more]], cost=0)
        ((rows, said),) = piece_log_probabilities(model, [work], 0)
        return list(said.split([len(row.answer) for row in rows]))[:-1]

    return [one for found in in_batches(whole, batch_size, of_batch) for one in found]


def _lead(plain: Sequence[int], scores: torch.Tensor, written: Sequence[int]) -> float | None:
    """Return by how much the plain engine prefers its own token where two replies part."""
    if list(plain) == list(written):
        return None
    pairs = zip(plain, written, strict=False)
    at = next((at for at, (a, b) in enumerate(pairs) if a != b), None)
    if at is None:  # one goes on where the other ended, and nothing but a mistake does that
        return float("inf")
    return float(scores[at, plain[at]] - scores[at, written[at]])


def _apart(found: Iterable[torch.Tensor], alone: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return how far each row found is from the row alone."""
    return [one - other for one, other in zip(found, alone, strict=False)]  # found may be none


def _coarse(model: Any) -> bool:
    return exact_tolerance(model) is None


def _prefix(model: Any, rows: Sequence[Encoded]) -> Prefix:
    with torch.inference_mode():
        return compute_prefix(model, rows[0].prompt[:PREFIX_TOKENS])
