"""What is said of training rows whose share of votes is learned, and the refusal where none is."""

from collections.abc import Sequence

from hsd.data.vote_shares import is_across
from hsd.errors import DataError
from hsd.training.lesson import Lesson

_SHOWN = 3


def shares_told(learned: Sequence[Lesson], watched: Sequence[Lesson]) -> str:
    """Return how many rows are learned, and watched, as a share of votes.

    Raises DataError when none is to be learned so.
    """
    if not _with_share(learned):
        raise DataError(
            f"training.labels=share, but none of the {len(learned):,} training rows has a share of "
            "votes; expected a column hate_share (0 to 1), as `hsd prepare` writes it of "
            "HateXplain's votes or of --share-column. Or leave training.labels at hard."
        )
    said = f"{_of(learned)} training rows are learned as a share of votes"
    if not watched:
        return f"{said}."
    return f"{said}; {_of(watched)} validation rows are judged by one in the validation loss."


def across_told(lessons: Sequence[Lesson], source: str) -> list[str]:
    """Return a sentence where rows teach one label in their answers and another as their share."""
    ids = [one.chat.id for one in lessons if is_across(one.label, one.hate_share)]
    if not ids:
        return []
    more = ", ..." if len(ids) > _SHOWN else ""
    return [
        f"{source}: {len(ids)} of {len(lessons)} rows ({', '.join(ids[:_SHOWN])}{more}) have a "
        "hate_share on the other side of .5 than their label: the answer teaches one, P(hate) the "
        "other. Is it the share of hate?"
    ]


def _of(lessons: Sequence[Lesson]) -> str:
    return f"{_with_share(lessons):,} of {len(lessons):,}"


def _with_share(lessons: Sequence[Lesson]) -> int:
    return sum(lesson.hate_share is not None for lesson in lessons)
