"""Rows that may go on in several ways: a trunk, and branches that do not see each other.

A token trie. Training and scoring ask for the log-probabilities of an answer, and of the ways it
could go on instead; what the ways have in common is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hsd.model.packing import TRUNK, Packed


@dataclass(frozen=True, slots=True)
class Forked:
    """One row's tokens. Each branch goes on where the trunk ends.

    The branches' tokens are spoken of, and the last `said` ones of the trunk; a token is spoken
    of by the state of the one before it, so a branch's last token is never read.
    """

    trunk: Sequence[int]
    branches: Sequence[Sequence[int]]
    said: int = 0

    def lines(self) -> list[tuple[list[int], int]]:
        """Return each way as one line of ids, with how many of its last tokens it speaks of.

        What is said in the trunk counts for the first line alone.
        """
        first, *others = ([*self.trunk, *branch] for branch in self.branches)
        counts = [len(branch) for branch in self.branches]
        return [(first, self.said + counts[0]), *zip(others, counts[1:], strict=True)]


def pack_forked(rows: Sequence[Forked], start: int, device: Any = "cpu") -> Packed:
    """Return rows one after the other, trunk then branches; each begins at position `start`."""
    ids: list[int] = []
    position: list[int] = []
    number: list[int] = []
    branch: list[int] = []
    for at, row in enumerate(rows):
        end = start + len(row.trunk)
        parts = [(TRUNK, start, row.trunk)]
        parts += [(way, end, tokens[:-1]) for way, tokens in enumerate(row.branches)]
        for way, begin, tokens in parts:
            ids += tokens
            position += range(begin, begin + len(tokens))
            number += [at] * len(tokens)
            branch += [way] * len(tokens)
    columns = (ids, position, number, branch)
    return Packed(*(torch.tensor(c, dtype=torch.long, device=device) for c in columns))


def spoken(rows: Sequence[Forked]) -> list[tuple[int, int]]:
    """Return what a packed sequence of these rows says: places, and the tokens they speak of.

    Row by row: what is said in the trunk, then every branch.
    """
    found: list[tuple[int, int]] = []
    begin = 0
    for row in rows:
        fork = begin + len(row.trunk) - 1
        if row.said:
            found += zip(range(fork - row.said, fork), row.trunk[-row.said :], strict=True)
        at = fork
        for tokens in row.branches:
            places = [fork, *range(at + 1, at + len(tokens))]
            found += zip(places, tokens, strict=True)
            at += len(tokens) - 1
        begin = at + 1
    return found
