"""What annotators' votes say of a post, and what is said of rows that have a share of them."""

from collections import Counter
from collections.abc import Mapping, Sequence

from hsd.example import Example, Label

NO_MAJORITY = "no label has a majority of the votes"


def majority_label(labels: Sequence[str]) -> str | None:
    """Return the label that more than half of the annotators chose, None without one."""
    label, votes = Counter(labels).most_common(1)[0]
    return label if 2 * votes > len(labels) else None


def share_of_hate(votes: Sequence[str], binary: Mapping[str, str]) -> float:
    """Return the share of all votes that say what counts as hate."""
    return sum(binary.get(vote) == "hate" for vote in votes) / len(votes)


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
