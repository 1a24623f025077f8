"""How far apart groups lie in error rates, raw and with sources held equal.

Equal opportunity asks for equal true-positive rates, equalised odds for equal false-positive rates
too (Hardt, Price, Srebro, 2016). A group's posts may come from another mix of sources than
another's; the standardised view gives every group the same mix (direct standardisation), over the
sources that all groups have.

A largest difference is never below 0, so that its draws lie above it where groups hardly differ,
and their percentiles would never hold 0. So the draws are also taken as they would be if all groups
had one rate (each group's draws around its own rate): where a difference as large as the one found
comes up in more than 5 % of these, the interval begins at 0. In simulations with 2 to 10 groups of
30 to 400 posts, equal rates and unequal ones, that interval held the truth in 93 to 98 %.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hsd.metrics.bootstrap import DRAWS, SEED, Design, bootstrap, percentiles
from hsd.metrics.drawn_rates import GAPS, DrawnRates, GapName, spans_of
from hsd.metrics.group_f1 import f1_of_groups
from hsd.metrics.group_masks import GroupMasks, Parts, covered_share, rates_by_group, rates_in_draws
from hsd.metrics.groups import RATES, Rate
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.ranking import Floats
from hsd.metrics.zero_variance import Hits, largest_difference
from hsd.prediction import Prediction

DISAGREEMENT = 0.05
"""Raw and standardised differences further apart than this are a warning."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference of a rate between two groups.

    `p_value` is how often one as large would come up if all groups had the same rate.
    """

    value: float
    interval: Interval | None
    highest: str
    lowest: str
    p_value: float | None


@dataclass(frozen=True, slots=True)
class View:
    """Rates of all groups that are estimable, their gaps, and the share of posts behind them."""

    rates: Mapping[Rate, Mapping[str, float]]
    gaps: Mapping[GapName, Gap]
    coverage: Mapping[Rate, float]


@dataclass(frozen=True, slots=True)
class Worst:
    """The group with the lowest F1 of hate; the interval is that group's own."""

    group: str
    f1: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps as they are and by equal sources, and the intervals of raw minus standardised.

    `f1` holds the F1 of each group with MINIMUM_N posts of both labels, `f1_intervals` its
    interval.
    """

    raw: View
    standardised: View
    mix: Mapping[GapName, Interval | None]
    worst: Worst | None
    f1: Mapping[str, float]
    f1_intervals: Mapping[str, Interval | None]

    @property
    def disagreeing(self) -> tuple[GapName, ...]:
        """Gaps that the mix of sources makes or hides, by more than chance leaves."""
        return tuple(name for name in GAPS if self._apart(name))

    def _apart(self, name: GapName) -> bool:
        raw, standardised = self.raw.gaps.get(name), self.standardised.gaps.get(name)
        between = self.mix.get(name)
        if raw is None or standardised is None or between is None:
            return False
        far = abs(raw.value - standardised.value) > DISAGREEMENT
        return far and not between.low <= 0 <= between.high


def gaps(
    predictions: Sequence[Prediction],
    *,
    leave_out: Collection[str] = (),
    draws: int = DRAWS,
    seed: int = SEED,
) -> Gaps:
    """Return the gaps between all groups but `none` and those that are left out."""
    rows = GroupMasks.of(predictions, leave_out)
    design = Design.of(predictions)
    f1, f1_intervals = f1_of_groups(rows, lambda of: bootstrap(of, design, draws=draws, seed=seed))
    lowest = min(f1, key=f1.__getitem__, default=None)
    # One seed, so that both views are drawn together and their difference can be.
    raw, standardised = (
        DrawnRates.of({rate: parts(rate) for rate in RATES}, design, draws, seed)
        for parts in (rows.whole, rows.by_source)
    )
    mix = [percentiles(column) for column in (raw.spans() - standardised.spans()).T]
    return Gaps(
        _view(rows, raw),
        _view(rows, standardised),
        dict(zip(GAPS, mix, strict=True)),
        None if lowest is None else Worst(lowest, f1[lowest], f1_intervals[lowest]),
        f1,
        f1_intervals,
    )


def largest_gap(predictions: Sequence[Prediction]) -> float | None:
    """Return the equalised-odds difference; None unless both rates have two groups."""
    rows, once = GroupMasks.of(predictions), np.ones((1, len(predictions)))
    found = float(spans_of({rate: rates_in_draws(rows.whole(rate))(once) for rate in RATES})[0, -1])
    return None if np.isnan(found) else found


def _view(rows: GroupMasks, seen: DrawnRates) -> View:
    # 1. What was found: each group's rate, and of each rate the highest and the lowest group.
    rates = {rate: rates_by_group(seen.parts[rate]) for rate in RATES}
    spread: dict[GapName, tuple[float, str, str]] = {}
    for name, rate in zip(GAPS, RATES, strict=False):
        found = rates[rate]
        if len(found) > 1:
            high = max(found, key=found.__getitem__)
            low = min(reversed(found), key=found.__getitem__)  # of equals two, not one twice
            spread[name] = (found[high] - found[low], high, low)
    # 2. Equalised odds is the larger of both, where both are known.
    if len(spread) == len(RATES):
        spread["equalised_odds"] = max(spread.values())
    # 3. How it would come out again: the draws as they are, the draws as if all groups had one
    #    rate, and counts where a group's rate is 0 or 1 and so the same in every draw.
    draws = dict(zip(GAPS, seen.spans().T, strict=True))
    equal = dict(zip(GAPS, seen.equal_spans(rates).T, strict=True))
    still = _still(rows, seen.parts)
    gaps = {
        name: _gap(*found, draws[name], equal[name], still.get(name))
        for name, found in spread.items()
    }
    coverage = {rate: covered_share(seen.parts[rate], rows, rate) for rate in RATES}
    return View(rates, gaps, coverage)


def _gap(
    value: float,
    highest: str,
    lowest: str,
    draws: Floats,
    equal: Floats,
    still: Interval | None,
) -> Gap:
    """Return a gap with the interval that the module tells of.

    A group without an error, or without a right call, has the same rate in every draw: `still`,
    where it is given, says how far such a rate may be off.
    """
    interval = percentiles(draws)
    if interval is None:
        return Gap(value, still, highest, lowest, None)
    # A largest difference is never below 0: its own draws cannot say that there may be none. So
    # the p-value is taken from draws in which the groups are equal, and decides the lower end.
    known = equal[np.isfinite(equal)]
    p_value = float(((known >= value - 1e-12).sum() + 1) / (len(known) + 1))
    low = 0.0 if p_value > 1 - LEVEL else interval.low
    high = max(interval.high, still.high) if still else interval.high
    # Of few posts the draws may lie above what was found.
    return Gap(value, Interval(min(low, value), max(high, value)), highest, lowest, p_value)


def _still(rows: GroupMasks, parts: Mapping[Rate, Parts]) -> dict[GapName, Interval | None]:
    """Return intervals by counts for gaps of rates that no draw, or not every draw, changes.

    {} where rates are sums over sources.
    """
    if any(len(several) != 1 for found in parts.values() for several in found.values()):
        return {}
    fpr, fnr = (_still_gap(rows, parts[rate]) for rate in RATES)
    both = [one for one in (fpr, fnr) if one]
    larger = Interval(max(i.low for i in both), max(i.high for i in both)) if both else None
    return dict(zip(GAPS, (fpr, fnr, larger), strict=True))


def _still_gap(rows: GroupMasks, parts: Parts) -> Interval | None:
    """Return the interval by counts; None where every group has errors and right calls."""
    found = [Hits.of(one.rows, one.wrong, rows.units) for (one,) in parts.values()]
    if all(0 < one.hits < one.n for one in found):
        return None
    return largest_difference(found)
