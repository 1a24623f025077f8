"""Finds posts that say the same thing: exact after normalisation, or nearly.

Similarity is the Jaccard index of sets of five-character shingles, computed exactly. Candidates
come from prefix filtering (Bayardo, Ma, Srikant, WWW 2007): two sets with a Jaccard index of at
least t share one of the rarest `n - ceil(t * n) + 1` shingles of each, so only posts that share a
rare shingle are compared, and none is missed.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hsd.example import SPLITS, Example

NEAR = 0.8
"""Jaccard index from which two posts are near-duplicates: one changed word in 100 characters."""

SHINGLE_CHARACTERS = 5

_URL = re.compile(r"(?:https?://|www\.)\S+")
_USER = re.compile(r"@\w+|<user>")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_PUNCTUATION = re.compile(r"[^\w\s\u00a9\u00ae\u200d\u203c-\u3299\ufe0f\U0001f000-\U0001faff]+")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two posts that are the same or nearly: positions in the list, and their similarity."""

    first: int
    second: int
    similarity: float

    @property
    def exact(self) -> bool:
        """Whether the normalised texts are equal."""
        return self.similarity == 1.0


def normalise(text: str) -> str:
    """Return the text without what varies between copies of one post.

    Case, white space and punctuation go; addresses, user names and numbers become one token.
    Emoji stay: they can turn a post's meaning.
    """
    text = _USER.sub(" user ", _URL.sub(" url ", text.lower()))
    text = _PUNCTUATION.sub(" ", _NUMBER.sub(" 0 ", text).replace("_", " "))
    return " ".join(text.split()) or " "


def find_pairs(texts: Sequence[str], threshold: float = NEAR) -> list[Pair]:
    """Return every pair of posts at or above `threshold`, ordered by position.

    Copies of one text are paired with its first copy only, and only that first copy is compared
    with others: `clusters` still joins them all, and a thousand copies cost a thousand pairs.
    """
    first: dict[str, int] = {}
    pairs = []
    for position, text in enumerate(map(normalise, texts)):
        original = first.setdefault(text, position)
        if original != position:
            pairs.append(Pair(original, position, 1.0))
    pairs += _near_pairs(first, threshold)
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def clusters(count: int, pairs: Iterable[Pair]) -> list[int]:
    """Return for each of `count` posts the smallest position in its cluster of duplicates."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return []
    ends = np.array([(pair.first, pair.second) for pair in pairs], dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), ends.T), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)  # of each component its smallest position
    return [int(position) for position in first[component]]


def conflicts(examples: Sequence[Example], pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs whose two posts have different labels."""
    return [p for p in pairs if examples[p.first].label != examples[p.second].label]


def leaks(examples: Sequence[Example], pairs: Iterable[Pair]) -> list[Pair]:
    """Return each row of train (or validation) with a duplicate in a split held out from it.

    `first` is the row that would have to go, `second` one duplicate for each later split.
    """
    copies: dict[int, list[int]] = defaultdict(list)
    near = []
    for pair in pairs:
        if pair.exact:
            copies[pair.first] += [pair.second]
        else:
            near.append(pair)
    same = [Pair(first, first, 1.0) for first in copies]
    found = [
        leak
        for pair in same + near
        for one, other in {(pair.first, pair.second), (pair.second, pair.first)}
        for leak in _leaks_of(
            examples, [one, *copies[one]], [other, *copies[other]], pair.similarity
        )
    ]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _leaks_of(
    examples: Sequence[Example], rows: Sequence[int], copies: Sequence[int], similarity: float
) -> Iterator[Pair]:
    held_out: dict[str, int] = {}
    for position in copies:
        held_out.setdefault(examples[position].split, position)
    for position in rows:
        split = examples[position].split
        for later, copy in held_out.items():
            if split in SPLITS and later in SPLITS and SPLITS.index(split) < SPLITS.index(later):
                yield Pair(position, copy, similarity)


def describe_duplicates(examples: Sequence[Example], pair: Pair) -> dict[str, object]:
    """Return a pair as a row of a report: ids, places, splits, labels, similarity; no text."""
    first, second = examples[pair.first], examples[pair.second]
    return {
        "ids": [first.id, second.id],
        "places": [first.place, second.place],
        "splits": [first.split, second.split],
        "labels": [first.label, second.label],
        "similarity": round(pair.similarity, 4),
    }


def _near_pairs(first: dict[str, int], threshold: float) -> Iterator[Pair]:
    positions = list(first.values())
    sets = _ranked_shingles(list(first))
    by_size = sorted(range(len(sets)), key=lambda index: len(sets[index]))
    members = [frozenset(shingles) for shingles in sets]
    holders: dict[int, list[int]] = defaultdict(list)  # rare shingle -> indexes seen so far
    for index in by_size:
        size = len(sets[index])
        smallest = math.ceil(threshold * size)
        rare = sets[index][: size - smallest + 1]
        candidates = {other for shingle in rare for other in holders[shingle]}
        for other in candidates:
            if len(sets[other]) < smallest:
                continue
            similarity = _jaccard(members[index], members[other])
            if similarity >= threshold:
                one, two = sorted((positions[index], positions[other]))
                # Equal sets of unequal texts are near, not exact.
                yield Pair(one, two, min(similarity, 0.9999))
        for shingle in rare:
            holders[shingle].append(index)


def _ranked_shingles(texts: Sequence[str]) -> list[list[int]]:
    """Return each text's shingles as ranks, the rarest shingle of the whole first."""
    shingled = [_shingles(text) for text in texts]
    counts = Counter(shingle for shingles in shingled for shingle in shingles)
    ordered = sorted(counts, key=lambda shingle: (counts[shingle], shingle))
    rank = {shingle: position for position, shingle in enumerate(ordered)}
    return [sorted(rank[shingle] for shingle in shingles) for shingles in shingled]


def _shingles(text: str) -> set[str]:
    width = SHINGLE_CHARACTERS
    return {text[start : start + width] for start in range(max(1, len(text) - width + 1))}


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
