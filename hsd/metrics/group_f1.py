"""F1 of each group, and the group with the lowest."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hsd.metrics.group_masks import GroupMasks
from hsd.metrics.intervals import Interval
from hsd.metrics.ranking import Bools, Floats
from hsd.metrics.zero_variance import Hits, f1
from hsd.prediction import Prediction


def f1_of_groups(
    rows: GroupMasks, intervals: Callable[[Callable[[Floats], Floats]], list[Interval | None]]
) -> tuple[dict[str, float], dict[str, Interval | None]]:
    """Return each group's F1 and its interval, where there are MINIMUM_N posts of both labels."""
    known = rows.of_both_labels()
    if not known:
        return {}, {}
    found = _f1_by_group(rows, known)
    values = found(np.ones((1, len(rows.hate))))[0]
    ends = zip(known.values(), intervals(found), strict=True)
    return (
        dict(zip(known, map(float, values), strict=True)),
        dict(zip(known, [end or _still_f1(rows, mask) for mask, end in ends], strict=True)),
    )


def worst_group_f1(predictions: Sequence[Prediction]) -> float | None:
    """Return the lowest F1 of a group; None where no group has MINIMUM_N posts of both labels."""
    rows = GroupMasks.of(predictions)
    known = rows.of_both_labels()
    if not known:
        return None
    return float(_f1_by_group(rows, known)(np.ones((1, len(predictions)))).min())


def _f1_by_group(rows: GroupMasks, groups: Mapping[str, Bools]) -> Callable[[Floats], Floats]:
    """Return what gives each group's F1 of each draw: weights (draws, rows) to (draws, groups)."""
    masks = np.stack([*groups.values()], axis=1)  # (rows, groups)
    found = (masks & (rows.hate & ~rows.wrong)[:, None]).astype(np.float64)
    errors = (masks & rows.wrong[:, None]).astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        right = 2 * (weights @ found)
        with np.errstate(invalid="ignore"):
            values: Floats = right / (right + weights @ errors)
        return values

    return statistic


def _still_f1(rows: GroupMasks, group: Bools) -> Interval | None:
    """Return the interval of an F1 that no draw changes."""
    hates, normals = (
        Hits.of(group & label, rows.wrong, rows.units) for label in (rows.hate, ~rows.hate)
    )
    return f1(hates, normals)
