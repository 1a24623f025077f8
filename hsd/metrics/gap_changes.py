"""How a run's gaps between groups change from another run's on the same posts."""

from collections.abc import Sequence

import numpy as np

from hsd.metrics.bootstrap import DRAWS, SEED, Design, percentiles
from hsd.metrics.drawn_rates import GAPS, DrawnRates, GapName, spans_of
from hsd.metrics.group_masks import GroupMasks, rates_by_group
from hsd.metrics.groups import RATES
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.ranking import Floats
from hsd.prediction import Prediction


def gap_changes(
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[GapName, tuple[float, float, Interval | None]]:
    """Return each raw gap in two runs on the same rows, and the interval of its change.

    NaN where not estimable. As for a gap, the interval holds 0 where as large a change comes up in
    more than 5 % of draws in which all groups of a run have one rate.
    """
    design = Design.of(before)
    views = [{rate: GroupMasks.of(rows).whole(rate) for rate in RATES} for rows in (before, after)]
    rates = [{rate: rates_by_group(view[rate]) for rate in RATES} for view in views]
    seen = [DrawnRates.of(view, design, draws, seed) for view in views]
    first, second = (
        spans_of({rate: np.array([list(one[rate].values())]) for rate in RATES})[0] for one in rates
    )
    changes = (seen[1].spans() - seen[0].spans()).T
    equal = (seen[1].equal_spans(rates[1]) - seen[0].equal_spans(rates[0])).T
    return {
        name: (float(a), float(b), _held(float(b - a), change, by_chance))
        for name, a, b, change, by_chance in zip(GAPS, first, second, changes, equal, strict=True)
    }


def _held(change: float, draws: Floats, by_chance: Floats) -> Interval | None:
    found = percentiles(draws)
    if found is None:
        return None
    known = np.abs(by_chance[np.isfinite(by_chance)])
    if (known >= abs(change) - 1e-12).mean() <= 1 - LEVEL:
        return found
    return Interval(min(found.low, 0.0), max(found.high, 0.0))
