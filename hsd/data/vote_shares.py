"""What is said of rows that have a share of votes for hate beside their label."""

from collections.abc import Sequence

from hsd.example import Example, Label


def is_across(label: Label, share: float | None) -> bool:
    """Return whether a share lies on the other side of one half than its label.

    It may: some data call a post hate as soon as one annotator does. A column of shares of
    *normal* votes looks the same, and much oftener.
    """
    return share is not None and (share < 0.5 if label == "hate" else share > 0.5)


def across(examples: Sequence[Example]) -> list[str]:
    """Return the places of rows whose share says another label than they have."""
    return [e.place or e.id for e in examples if is_across(e.label, e.hate_share)]


def shares_said(examples: Sequence[Example]) -> list[str]:
    """Return how many rows have a share, as a sentence; nothing where none has."""
    count = sum(example.hate_share is not None for example in examples)
    if not count:
        return []
    return [f"{count:,} of {len(examples):,} posts have the share of annotators who said hate."]
