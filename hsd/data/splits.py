"""Splits rows into train, validation and test so that no post stands in two of them."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hsd.data.sampling import group_and_label
from hsd.errors import DataError
from hsd.example import SPLITS, Example

SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def require_known_splits(examples: Sequence[Example]) -> None:
    """Raise DataError naming the place of the first split that is none of ours."""
    for example in examples:
        if example.split and example.split not in SPLITS:
            raise DataError(
                f"{example.place}: unknown split '{example.split}'; expected train, validation "
                "(val, dev) or test, or nothing, to have the row assigned."
            )


def assign_splits(
    examples: Sequence[Example],
    clusters: Sequence[int],
    seed: int,
    split_shares: Mapping[str, float] = SHARES,
) -> list[Example]:
    """Return the examples, each with a split; `clusters` tells which rows say the same.

    A split that a row came with is kept. The other rows of its cluster follow it, the most held
    out one where there are several. Every other cluster goes where its stratum (label, group,
    source) lacks most, so shares hold in each stratum up to whole clusters. The outcome does not
    depend on the order of the rows.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for position, cluster in enumerate(clusters):
        members[cluster].append(position)
    chosen = {
        position: split
        for rows in members.values()
        if (split := _given(examples, rows))
        for position in rows
    }
    loose = [rows for rows in members.values() if rows[0] not in chosen]
    chosen |= _deal(examples, loose, seed, split_shares)
    return [replace(e, split=e.split or chosen[position]) for position, e in enumerate(examples)]


def _given(examples: Sequence[Example], rows: Sequence[int]) -> str:
    given = {examples[position].split for position in rows}
    return next((split for split in reversed(SPLITS) if split in given), "")


def _deal(
    examples: Sequence[Example],
    clusters: Sequence[Sequence[int]],
    seed: int,
    split_shares: Mapping[str, float],
) -> dict[int, str]:
    """Deal clusters out, the largest first, each to the split that its stratum lacks most."""
    strata: dict[str, list[Sequence[int]]] = defaultdict(list)
    for rows in clusters:
        strata[_stratum(examples, rows)].append(sorted(rows, key=lambda p: examples[p].id))
    chosen: dict[int, str] = {}
    owed: Counter[str] = Counter()  # what rounding kept from a split goes to the next stratum
    for name in sorted(strata):
        dealt = sorted(strata[name], key=lambda rows: examples[rows[0]].id)
        random.Random(f"{seed}/{name}").shuffle(dealt)
        total = sum(map(len, dealt))
        lacking = {split: owed[split] + share * total for split, share in split_shares.items()}
        for rows in sorted(dealt, key=len, reverse=True):
            split = max(lacking, key=lambda split: lacking[split])
            lacking[split] -= len(rows)
            chosen |= dict.fromkeys(rows, split)
        owed = Counter(lacking)
    return chosen


def _stratum(examples: Sequence[Example], rows: Sequence[int]) -> str:
    """Return the commonest stratum of a cluster's rows."""
    names = (f"{group_and_label(examples[p])}/{examples[p].source_dataset}" for p in rows)
    return min(Counter(names).items(), key=lambda item: (-item[1], item[0]))[0]
