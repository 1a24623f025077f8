"""A few posts scored alone, to be held against their scores in a batch."""

from collections.abc import Callable, Sequence

from hsd.inference.replies import Engine
from hsd.prompts.render import Encoded

POSTS = 8
"""Posts that are scored twice: under 1 % of the time at 1,000 posts."""


def scored_alone(
    engine: Engine,
    batches: Sequence[Sequence[Encoded]],
    check_stop: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return P(hate) by id of a few posts, each computed alone, by an engine that scores labels.

    `check_stop` is called before each, and may raise.
    """
    found = {}
    for row in chosen_rows(batches):
        check_stop()
        (reply,) = engine.answer([row])
        assert reply.score is not None, reply.id
        found[reply.id] = reply.score
    return found


def chosen_rows(batches: Sequence[Sequence[Encoded]]) -> list[Encoded]:
    """Return rows spread over all lengths, of batches that hold several."""
    rows = [row for batch in batches if len(batch) > 1 for row in batch]
    count = min(POSTS, len(rows))
    return [rows[at * len(rows) // count] for at in range(count)]
