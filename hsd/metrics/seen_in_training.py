"""Posts that stand in two sets, told by their words and not by their ids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from hsd.data.duplicates import normalise
from hsd.prediction import Prediction


def among(predictions: Iterable[Prediction], texts: Iterable[str]) -> list[str]:
    """Return the ids of the posts that are among `texts`, in order.

    Two texts are one post as `hsd data check` compares them: case, punctuation, addresses, user
    names and numbers do not tell them apart.
    """
    known = set(map(normalise, texts))
    return [p.id for p in predictions if normalise(p.text) in known]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two sets that share posts: how many of the first are in the second, and the other way round.

    The two numbers differ where a set holds a post twice.
    """

    first: str
    second: str
    in_first: int
    in_second: int


@dataclass(frozen=True, slots=True)
class Overlaps:
    """All pairs of sets that share posts; `shared` counts a set's posts that any other holds."""

    pairs: tuple[Overlap, ...]
    shared: Mapping[str, int]


def overlaps(sets: Mapping[str, Sequence[Prediction]]) -> Overlaps:
    """Return which sets share posts, told by their words as `among` tells them."""
    words = {name: [normalise(p.text) for p in rows] for name, rows in sets.items()}
    known = {name: set(texts) for name, texts in words.items()}
    pairs = []
    for first, second in combinations(words, 2):
        if both := known[first] & known[second]:
            counts = (sum(text in both for text in words[name]) for name in (first, second))
            pairs.append(Overlap(first, second, *counts))
    others = {
        name: set().union(*(texts for other, texts in known.items() if other != name))
        for name in known
    }
    shared = {name: sum(text in others[name] for text in texts) for name, texts in words.items()}
    return Overlaps(tuple(pairs), shared)
