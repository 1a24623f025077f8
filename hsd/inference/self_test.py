"""A check before any row counts: a few rows answered behind a shared prefix and one by one.

In exact arithmetic both are the same. Rounding may tip a greedy choice between two tokens that are
all but equally likely, so what is compared is what the model said, not what was picked: the
log-probability that both ways give to the plain way's answer, token by token. Where the texts
part nevertheless, the two tokens at that place have to be such a tie in the plain way's own
probabilities. Sampled replies are checked greedily too: only the dice differ.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan
from typing import Any

import torch

from hsd.inference.generate import greedy_with_log_probabilities
from hsd.inference.halving import in_batches
from hsd.inference.replies import longest_first
from hsd.inference.score import Candidates, log_probabilities
from hsd.inference.shared_generate import SharedGenerate, reply_log_probabilities
from hsd.inference.shared_score import SharedScore
from hsd.model.packing import tolerance
from hsd.prompts.render import Encoded

TOKENS = 24
"""Longest reply that is compared: JSON with a label and nothing else has about 14."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the self-test found. `problem` names the row and the difference; None is a pass."""

    rows: list[str]
    largest_difference: float = 0.0
    tolerance: float = 0.0
    ties: list[str] = field(default_factory=list)
    """Rows whose text or label differs only where two of them are as likely."""
    problem: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the result for the manifest."""
        found = self.largest_difference  # JSON knows no infinity
        finite = {"largest_difference": found if isfinite(found) else str(found)}
        return {"passed": self.problem is None, **asdict(self), **finite}


def chosen_rows(rows: Sequence[Encoded]) -> list[Encoded]:
    """Return the longest and the shortest row.

    Each is computed whole once more: at 64 rows four of them were half of the time.
    """
    ordered = longest_first(rows)
    return [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered


def check_scores(
    shared: SharedScore, model: Any, rows: Sequence[Encoded], spelled: Candidates, batch_size: int
) -> Checked:
    """Return whether scores behind a prefix are those of each row alone."""
    plain = torch.cat([log_probabilities(model, [row.prompt], spelled, 0) for row in rows])
    packed = torch.cat(list(in_batches(rows, batch_size, shared.log_probabilities)))
    differences = (plain - packed).abs().mean(1)
    margins = (plain[:, 0] - plain[:, 1]).abs()
    flipped = (plain[:, 0] > plain[:, 1]) != (packed[:, 0] > packed[:, 1])
    # Another label is a tie only where the plain way itself has hardly a preference.
    worst = torch.where(flipped, torch.maximum(differences, margins), differences)
    ties = [row.id for row, other in zip(rows, flipped.tolist(), strict=True) if other]
    return _checked(model, rows, worst.tolist(), ties)


def check_replies(
    shared: SharedGenerate,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Encoded],
    stop_ids: Sequence[int],
    batch_size: int,
) -> Checked:
    """Return whether greedy replies behind a prefix are those of each row alone."""
    limit = shared.asking.max_new_tokens
    plain = [
        greedy_with_log_probabilities(model, tokenizer, row.prompt, stop_ids, limit) for row in rows
    ]
    written = [ids for batch in in_batches(rows, batch_size, shared.write) for ids in batch]
    packed = reply_log_probabilities(
        model, shared.prefix, rows, [ids for ids, _ in plain], batch_size
    )
    differences = [
        float((scores[range(len(ids)), ids] - other).abs().mean())
        for (ids, scores), other in zip(plain, packed, strict=True)
    ]
    leads = [_lead(*one, other) for one, other in zip(plain, written, strict=True)]
    ties = [row.id for row, lead in zip(rows, leads, strict=True) if lead is not None]
    worst = [max(d, lead or 0.0) for d, lead in zip(differences, leads, strict=True)]
    return _checked(model, rows, worst, ties)


def _lead(plain: Sequence[int], scores: torch.Tensor, written: Sequence[int]) -> float | None:
    """Return by how much the plain way prefers its own token where two replies part."""
    if list(plain) == list(written):
        return None
    pairs = zip(plain, written, strict=False)
    at = next((at for at, (a, b) in enumerate(pairs) if a != b), None)
    if at is None:  # one goes on where the other ended, and nothing but a mistake does that
        return float("inf")
    return float(scores[at, plain[at]] - scores[at, written[at]])


def _checked(
    model: Any, rows: Sequence[Encoded], differences: Sequence[float], ties: list[str]
) -> Checked:
    allowed = tolerance(model)
    named = [(value, row.id) for value, row in zip(differences, rows, strict=True)]
    worst, id = max(named, key=lambda pair: float("inf") if isnan(pair[0]) else pair[0])
    ids = [row.id for row in rows]
    if worst <= allowed:
        return Checked(ids, worst, allowed, ties)
    problem = (
        f"row {id} is answered otherwise behind a shared prompt than alone (by {worst:.2g} nats, "
        f"{allowed:g} allowed)"
    )
    return Checked(ids, worst, allowed, ties, problem)
