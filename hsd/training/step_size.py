"""The sizes of one optimiser step's pieces, and its tokens, from how its rows are learned."""

from collections.abc import Iterable, Sequence

from hsd.model.memory_parts import Piece
from hsd.prompts.render import Encoded
from hsd.training.microbatches import StepPlan, length, spoken_tokens


def piece_sizes(works: Iterable[StepPlan]) -> list[Piece]:
    """Return the size of each piece of a step."""
    return [_size(work, rows) for work in works for rows in work.pieces]


def computed_tokens(works: Sequence[StepPlan]) -> int:
    """Return the tokens that a step computes: padding counts, a prefix as often as it is."""
    once = sum(len(work.prefix) for work in works if work.form == "behind")
    return once + sum(piece.tokens for piece in piece_sizes(works))


def computed_pairs(works: Sequence[StepPlan]) -> int:
    """Return how many query-key pairs a step computes in each layer."""
    once = sum(len(work.prefix) ** 2 for work in works if work.form == "behind")
    return once + sum(piece.tokens * piece.keys for piece in piece_sizes(works))


def _size(work: StepPlan, rows: Sequence[Encoded]) -> Piece:
    prefix, answers = len(work.prefix), sum(map(spoken_tokens, rows))
    if work.form == "alone":
        lines, widest = sum(1 + len(row.rivals) for row in rows), max(map(length, rows))
        most = max(map(spoken_tokens, rows))
        return Piece(lines * widest, widest, lines * (most + 1), lines=lines)
    own = sum(length(row) - prefix for row in rows)
    if work.form == "behind":
        return Piece(own, prefix + own, answers, prefix)
    return Piece(prefix + own, prefix + own, answers)
