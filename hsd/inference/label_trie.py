"""Both labels as a tree of tokens: what an engine that gives next tokens has to be asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from hsd.inference.score import Candidates


@dataclass(frozen=True, slots=True)
class TrieNode:
    """A place in the answer where a label goes on: the ids since the prompt, and the next ones."""

    path: list[int]
    tokens: list[int]


def inner_nodes(spelled: Candidates) -> list[TrieNode]:
    """Return the nodes from which a label goes on, the one where both part first."""
    found: dict[tuple[int, ...], list[int]] = {}
    for tail in spelled.tails:
        for at, token in enumerate(tail):
            following = found.setdefault(tuple(tail[:at]), [])
            if token not in following:
                following.append(token)
    return [TrieNode([*spelled.opening, *path], tokens) for path, tokens in found.items()]


def label_log_probabilities(
    spelled: Candidates, found: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return the log-probability of each label, hate first, from those of each node's tokens."""
    known = {
        (*node.path, token): value
        for node, values in zip(inner_nodes(spelled), found, strict=True)
        for token, value in zip(node.tokens, values, strict=True)
    }
    hate, normal = (
        sum(known[(*spelled.opening, *tail[: at + 1])] for at in range(len(tail)))
        for tail in spelled.tails
    )
    return hate, normal
