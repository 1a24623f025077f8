"""Test cases by what they test, pairs that differ in little, and posts with the group swapped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hsd.data.identity_swap import SWAP
from hsd.example import NONE
from hsd.metrics.bootstrap import DRAWS, SEED, Design, bootstrap
from hsd.metrics.clusters import units
from hsd.metrics.groups import Proportion
from hsd.metrics.intervals import Interval
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction

EVERYBODY = "all"
"""The column of all targets together."""

Pair = tuple[Prediction, Prediction]
"""A row that is referred to, and the one that refers to it."""


@dataclass(frozen=True, slots=True)
class Functionality:
    """Right answers to the cases of one functionality, over all and by target."""

    name: str
    label: str
    right: dict[str, Proportion]


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Pairs of one functionality: a case and the one it refers to, with other labels or the same.

    `consistency` is the share right on both sides; a model that sees a word, not a meaning, gets
    one of two labels right. Where the change `keeps_label`, `same_call` says how often the call
    stays too, right or wrong, of the pairs whose two replies could be read; `unread` counts the
    others.
    """

    functionality: str
    keeps_label: bool
    n: int
    consistency: Proportion
    only_reference: int
    only_contrast: int
    same_call: Proportion
    unread: int

    @property
    def both(self) -> int:
        """Pairs right on both sides."""
        return self.consistency.hits


@dataclass(frozen=True, slots=True)
class Swap:
    """What swapping one group for another does to answers: flips, and the mean shift of P(hate).

    Flips are of the pairs whose two replies could be read; `unread` counts the others.
    """

    before: str
    after: str
    flips: Proportion
    to_hate: int
    unread: int
    mean_shift: float | None
    shift_interval: Interval | None


def functionalities(predictions: Sequence[Prediction]) -> list[Functionality]:
    """Return the accuracy per functionality and target; [] where the rows name none."""
    cases = [p for p in predictions if p.functionality and p.functionality != SWAP]
    names = dict.fromkeys(p.functionality for p in sorted(cases, key=lambda p: p.functionality))
    return [_functionality(n, [p for p in cases if p.functionality == n]) for n in names]


def contrasts(predictions: Sequence[Prediction]) -> list[Contrasts]:
    """Return how consistent answers are over pairs, by functionality and whether the label stays.

    Those whose labels differ come first.
    """
    cells: dict[tuple[bool, str], list[Pair]] = {}
    for a, b in _pairs(predictions, lambda p: p.functionality != SWAP):
        cells.setdefault((a.true_label == b.true_label, b.functionality), []).append((a, b))
    return [_contrasts(name or NONE, keeps, cells[keeps, name]) for keeps, name in sorted(cells)]


def swap_results(
    predictions: Sequence[Prediction], *, draws: int = DRAWS, seed: int = SEED
) -> list[Swap]:
    """Return what changed for each pair of groups where one was swapped for the other."""
    pairs = _pairs(predictions, lambda p: p.functionality == SWAP)
    cells: dict[tuple[str, str], list[Pair]] = {}
    for a, b in pairs:
        if len(a.groups) == len(b.groups) == 1:
            cells.setdefault((a.groups[0], b.groups[0]), []).append((a, b))
    return [_swap(*names, cells[names], draws, seed) for names in sorted(cells)]


def _functionality(name: str, cases: list[Prediction]) -> Functionality:
    targets = sorted({_target(p) for p in cases} - {NONE})
    by_target = {target: [p for p in cases if _target(p) == target] for target in targets}
    return Functionality(
        name,
        "/".join(sorted({p.true_label for p in cases})),
        {n: _share_right(rows) for n, rows in {EVERYBODY: cases, **by_target}.items()},
    )


def _target(prediction: Prediction) -> str:
    """Return whom a case is about: HateCheck's targets are finer than our groups."""
    return prediction.persona_tag or "|".join(prediction.groups) or NONE


def _share_right(rows: Sequence[Prediction]) -> Proportion:
    return Proportion.of([row.is_right for row in rows], units(rows))


def _share_of(pairs: list[Pair], holds: Callable[[Prediction, Prediction], bool]) -> Proportion:
    """Return the share of pairs; those of one template are no evidence each of its own."""
    return Proportion.of([holds(a, b) for a, b in pairs], units([b for _, b in pairs]))


def _contrasts(name: str, keeps_label: bool, pairs: list[Pair]) -> Contrasts:
    right = [(a.is_right, b.is_right) for a, b in pairs]
    read = _read(pairs)
    return Contrasts(
        name,
        keeps_label,
        len(pairs),
        consistency=_share_of(pairs, lambda a, b: a.is_right and b.is_right),
        only_reference=sum(a and not b for a, b in right),
        only_contrast=sum(b and not a for a, b in right),
        same_call=_share_of(read, lambda a, b: a.label == b.label),
        unread=len(pairs) - len(read),
    )


def _read(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs with two readable replies: no label is no call, so no change of one."""
    return [(a, b) for a, b in pairs if a.label is not None and b.label is not None]


def _swap(before: str, after: str, pairs: list[Pair], draws: int, seed: int) -> Swap:
    read = _read(pairs)
    flips = [(a.label, b.label) for a, b in read if a.label != b.label]
    shifts = [b.score - a.score for a, b in pairs if a.score is not None and b.score is not None]
    whole = len(shifts) == len(pairs)
    return Swap(
        before,
        after,
        _share_of(read, lambda a, b: a.label != b.label),
        sum(b == "hate" for _, b in flips),
        len(pairs) - len(read),
        float(np.mean(shifts)) if whole else None,
        _mean_interval(np.array(shifts), [b for _, b in pairs], draws, seed) if whole else None,
    )


def _mean_interval(
    values: Floats, rows: list[Prediction], draws: int, seed: int
) -> Interval | None:
    def mean(weights: Floats) -> Floats:
        found: Floats = (weights @ values / weights.sum(axis=1))[:, None]
        return found

    return bootstrap(mean, Design.of(rows), draws=draws, seed=seed)[0]


def _pairs(predictions: Sequence[Prediction], wanted: Callable[[Prediction], bool]) -> list[Pair]:
    """Return each wanted row that refers to another one here, behind that one."""
    rows = {p.id: p for p in predictions}
    return [
        (rows[p.reference_id], p)
        for p in predictions
        if wanted(p) and p.reference_id in rows and p.reference_id != p.id
    ]
