"""How long rows are, and how many are longer than a limit."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hsd.data.posts import Post

HISTOGRAM = (16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of the length histogram; what is longer is one more bar."""


class Measure(Protocol):
    """How rows are measured; `note` says to people what is counted."""

    @property
    def unit(self) -> str:
        """What a length is a number of."""

    @property
    def note(self) -> str:
        """What is counted, in a sentence."""

    def length(self, post: Post) -> int:
        """Return the length of one row."""


@dataclass(frozen=True, slots=True)
class PostLength:
    """The post alone, without the prompt around it."""

    count: Callable[[str], int] = len
    unit: str = "characters of the post"
    note: str = "Lengths are of the post alone, without the prompt around it."

    def length(self, post: Post) -> int:
        """Return the length of the post."""
        return self.count(post.example.text)


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """Return how many rows are up to each of HISTOGRAM long."""
    names = [f"up to {end}" for end in HISTOGRAM] + [f"over {HISTOGRAM[-1]}"]
    places = (sum(n > end for end in HISTOGRAM) for n in lengths)
    counted = Counter(places)
    return {name: counted[place] for place, name in enumerate(names)}


def overflow(
    posts: Sequence[Post], lengths: Sequence[int], max_length: int | None
) -> dict[str, tuple[int, int]]:
    """Return rows over the limit and all rows by group; {} without a limit."""
    if max_length is None:
        return {}
    counted: dict[str, tuple[int, int]] = {}
    for post, n in zip(posts, lengths, strict=True):
        for group in post.example.groups or ("none",):
            over, of = counted.get(group, (0, 0))
            counted[group] = (over + (n > max_length), of + 1)
    return dict(sorted(counted.items()))
