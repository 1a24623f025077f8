"""How scores rank posts about a group against the others: Borkan et al. (2019), section 4.

Subgroup AUC ranks within the group; BPSN its normal posts against the others' hateful ones (low:
its normal posts score too high); BNSP its hateful posts against the others' normal ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hsd.example import NONE
from hsd.metrics.bootstrap import DRAWS, SEED, Design, bca
from hsd.metrics.groups import MINIMUM_N, by_group
from hsd.metrics.intervals import Interval
from hsd.metrics.ranking import Bools, Floats, Ranking
from hsd.prediction import Prediction

POWER = -5
"""Of the generalised mean over groups: close to the worst group's, as in the paper."""

Kind = Literal["subgroup", "bpsn", "bnsp"]
KINDS: tuple[Kind, ...] = ("subgroup", "bpsn", "bnsp")


@dataclass(frozen=True, slots=True)
class Area:
    """An AUC and the rows of its smaller class; or a mean of AUCs and how many they are."""

    value: float | None
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class Bias:
    """The three AUCs of each group, and their generalised means over groups."""

    groups: dict[str, dict[Kind, Area]]
    means: dict[Kind, Area]


@dataclass(frozen=True, slots=True)
class _Cell:
    """The rows behind one AUC."""

    group: str
    kind: Kind
    inside: Bools
    n: int


def bias_areas(
    predictions: Sequence[Prediction], *, draws: int = DRAWS, seed: int = SEED
) -> Bias | None:
    """Return the AUCs of every group but `none`; None unless every row has a score.

    An AUC with fewer than MINIMUM_N rows of a class is not estimable, and is in no mean.
    """
    scores = [p.score for p in predictions if p.score is not None]
    if not predictions or len(scores) < len(predictions):
        return None
    hate = np.array([p.true_label == "hate" for p in predictions])
    cells = list(_cells(predictions, hate))
    known = [cell for cell in cells if cell.n >= MINIMUM_N]

    areas = _areas_of(known, np.array(scores), hate)

    def both(weights: Floats) -> Floats:
        values = areas(weights)
        own = [values[:, [cell.kind == kind for cell in known]] for kind in KINDS]
        return np.column_stack([values, *(generalised_mean(one) for one in own)])

    design, once = Design.of(predictions), np.ones((1, len(scores)))
    values, ends = both(once)[0], bca(both, design, draws=draws, seed=seed)
    n = len(known)
    found = _areas(values[:n], ends[:n], [cell.n for cell in known])
    by_cell = dict(zip(((c.group, c.kind) for c in known), found, strict=True))
    groups: dict[str, dict[Kind, Area]] = {cell.group: {} for cell in cells}
    for cell in cells:
        nothing = Area(None, None, cell.n)
        groups[cell.group][cell.kind] = by_cell.get((cell.group, cell.kind), nothing)
    counts = [sum(cell.kind == kind for cell in known) for kind in KINDS]
    return Bias(groups, dict(zip(KINDS, _areas(values[n:], ends[n:], counts), strict=True)))


def _areas_of(known: Sequence[_Cell], scores: Floats, hate: Bools) -> Callable[[Floats], Floats]:
    """Return what gives each cell's AUC of each draw: weights (draws, rows) to (draws, cells).

    A group's hateful posts beat some of all normal ones; what they beat of the group's own is the
    subgroup's, and the rest is BNSP's. So is BPSN of its normal posts. Two sums over all rows do
    for every group, and one over each group's own rows.
    """
    groups = list(dict.fromkeys(cell.group for cell in known))
    inside = {cell.group: cell.inside for cell in known}
    masks = np.array([inside[name] for name in groups], dtype=bool).reshape(-1, len(scores)).T
    own = {name: Ranking.of(scores[inside[name]], hate[inside[name]]) for name in groups}
    whole, place = Ranking.of(scores, hate), {name: at for at, name in enumerate(groups)}
    hates, normals = (
        (masks & label[:, None]).astype(np.float64) for label in (hate, ~hate)
    )  # (rows, groups)

    def areas(weights: Floats) -> Floats:
        below, above = whole.beaten(weights)  # (draws, rows), in the order of the rows
        in_hate, in_normal = weights @ hates, weights @ normals
        all_hate, all_normal = weights @ hate.astype(float), weights @ ~hate
        of_hates = (weights * below) @ hates
        of_normals = (weights * above) @ normals
        among = {name: own[name].wins(weights[:, inside[name]]) for name in groups}
        found = []
        for cell in known:
            at, within = place[cell.group], among[cell.group]
            wins, first, second = {
                "subgroup": (within, in_hate[:, at], in_normal[:, at]),
                "bpsn": (of_normals[:, at] - within, all_hate - in_hate[:, at], in_normal[:, at]),
                "bnsp": (of_hates[:, at] - within, in_hate[:, at], all_normal - in_normal[:, at]),
            }[cell.kind]
            with np.errstate(invalid="ignore"):
                found.append(wins / (first * second))
        return np.stack(found, axis=1) if found else np.zeros((len(weights), 0))

    return areas


def generalised_mean(values: Floats, power: float = POWER) -> Floats:
    """Return (mean of x**power)**(1/power) of each row; NaN of none, 0 when one value is 0."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    with np.errstate(divide="ignore"):
        mean: Floats = np.mean(values**power, axis=1) ** (1 / power)
    return mean


def _areas(
    values: Floats, intervals: Sequence[Interval | None], counts: Sequence[int]
) -> list[Area]:
    return [
        Area(float(value), interval, n) if np.isfinite(value) else Area(None, None, n)
        for value, interval, n in zip(values, intervals, counts, strict=True)
    ]


def _cells(predictions: Sequence[Prediction], hate: Bools) -> Iterator[_Cell]:
    """Yield each group's three; posts about nobody are background."""
    for group in by_group(predictions):
        if group != NONE:
            inside = np.array([group in p.groups for p in predictions])
            rows: dict[Kind, Bools] = {
                "subgroup": inside,
                "bpsn": (inside & ~hate) | (~inside & hate),
                "bnsp": (inside & hate) | (~inside & ~hate),
            }
            for kind, mask in rows.items():
                yield _Cell(
                    group, kind, inside, int(min((mask & hate).sum(), (mask & ~hate).sum()))
                )
