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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hsd.example import NONE
from hsd.metrics.bootstrap import DRAWS, SEED, Design, bootstrap, drawn, percentiles
from hsd.metrics.classification import calls
from hsd.metrics.clusters import units
from hsd.metrics.groups import MINIMUM_N, RATES, Rate, by_group
from hsd.metrics.intervals import LEVEL, Interval
from hsd.metrics.ranking import Bools, Floats
from hsd.metrics.zero_variance import Hits, f1, largest_difference
from hsd.prediction import Prediction

GapName = Literal["false_positive_rate", "equal_opportunity", "equalised_odds"]
GAPS: tuple[GapName, ...] = ("false_positive_rate", "equal_opportunity", "equalised_odds")
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


@dataclass(frozen=True, slots=True)
class _Part:
    """Some posts of one group and label: their share of the rate, and which of them are wrong."""

    share: float
    rows: Bools
    wrong: Bools


_Parts = Mapping[str, list[_Part]]


def gaps(
    predictions: Sequence[Prediction],
    *,
    leave_out: Collection[str] = (),
    draws: int = DRAWS,
    seed: int = SEED,
) -> Gaps:
    """Return the gaps between all groups but `none` and those that are left out."""
    rows = _Rows.of(predictions, leave_out)
    design = Design.of(predictions)
    f1, f1_intervals = _f1(rows, lambda of: bootstrap(of, design, draws=draws, seed=seed))
    lowest = min(f1, key=f1.__getitem__, default=None)
    # One seed, so that both views are drawn together and their difference can be.
    raw, standardised = (
        _Drawn.of({rate: parts(rate) for rate in RATES}, design, draws, seed)
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


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A view's parts, and each group's rate in every draw: (draws, groups) for each rate."""

    parts: Mapping[Rate, _Parts]
    rates: Mapping[Rate, Floats]

    @classmethod
    def of(cls, parts: Mapping[Rate, _Parts], design: Design, draws: int, seed: int) -> "_Drawn":
        def statistic(weights: Floats) -> Floats:
            return np.concatenate([_rates(parts[rate], weights) for rate in RATES], axis=1)

        found = drawn(statistic, design, draws, seed)
        first = len(parts[RATES[0]])
        return cls(parts, dict(zip(RATES, (found[:, :first], found[:, first:]), strict=True)))

    def spans(self) -> Floats:
        """Return GAPS of each draw (draws, 3)."""
        return _spans(self.rates)

    def equal_spans(self, point: Mapping[Rate, Mapping[str, float]]) -> Floats:
        """Return GAPS of each draw as if all groups had one rate: only their chance is left."""
        return _spans({r: self.rates[r] - np.array(list(point[r].values())) for r in RATES})


@dataclass(frozen=True, slots=True)
class _Rows:
    """Predictions as masks (rows,)."""

    groups: Mapping[str, Bools]
    sources: Mapping[str, Bools]
    hate: Bools
    wrong: Bools
    units: Sequence[str]

    @classmethod
    def of(cls, predictions: Sequence[Prediction], leave_out: Collection[str] = ()) -> "_Rows":
        called = calls(predictions)
        pairs = zip(predictions, called, strict=True)
        names = [name for name in by_group(predictions) if name not in (NONE, *leave_out)]
        sources = sorted({p.source_dataset for p in predictions})
        return cls(
            {name: np.array([name in p.groups for p in predictions]) for name in names},
            {name: np.array([p.source_dataset == name for p in predictions]) for name in sources},
            np.array([p.true_label == "hate" for p in predictions], dtype=bool),
            np.array([p.true_label != call for p, call in pairs], dtype=bool),
            units(predictions),
        )

    def whole(self, rate: Rate) -> _Parts:
        """Return all posts of a group and label as one part."""
        label = self.of_label(rate)
        parts = {name: self._part(1.0, mask & label) for name, mask in self.groups.items()}
        return {name: [part] for name, part in parts.items() if part.rows.sum() >= MINIMUM_N}

    def by_source(self, rate: Rate) -> _Parts:
        """Return a part for each source of which every group has MINIMUM_N posts."""
        known, label = self.whole(rate), self.of_label(rate)
        cells = {
            source: {name: self.groups[name] & label & mask for name in known}
            for source, mask in self.sources.items()
        }
        shared = {
            source: groups
            for source, groups in cells.items()
            if groups and min(mask.sum() for mask in groups.values()) >= MINIMUM_N
        }
        sizes = {
            source: int(np.any(list(g.values()), axis=0).sum()) for source, g in shared.items()
        }
        total = sum(sizes.values())
        return {
            name: [self._part(sizes[s] / total, groups[name]) for s, groups in shared.items()]
            for name in (known if shared else ())
        }

    def of_both_labels(self) -> dict[str, Bools]:
        """Return the groups that have MINIMUM_N posts of both labels."""
        hate = self.hate
        return {
            name: mask
            for name, mask in self.groups.items()
            if min((mask & hate).sum(), (mask & ~hate).sum()) >= MINIMUM_N
        }

    def of_label(self, rate: Rate) -> Bools:
        """Return the posts that a rate is about."""
        return ~self.hate if rate == "false_positive_rate" else self.hate

    def _part(self, share: float, rows: Bools) -> _Part:
        return _Part(share, rows, rows & self.wrong)


def _view(rows: _Rows, seen: _Drawn) -> View:
    rates = {rate: rates_by_group(seen.parts[rate]) for rate in RATES}
    spread: dict[GapName, tuple[float, str, str]] = {}
    for name, rate in zip(GAPS, RATES, strict=False):
        found = rates[rate]
        if len(found) > 1:
            high = max(found, key=found.__getitem__)
            low = min(reversed(found), key=found.__getitem__)  # of equals two, not one twice
            spread[name] = (found[high] - found[low], high, low)
    if len(spread) == len(RATES):
        spread["equalised_odds"] = max(spread.values())
    draws = dict(zip(GAPS, seen.spans().T, strict=True))
    equal = dict(zip(GAPS, seen.equal_spans(rates).T, strict=True))
    still = _still(rows, seen.parts)
    gaps = {
        name: _gap(*found, draws[name], equal[name], still.get(name))
        for name, found in spread.items()
    }
    coverage = {rate: _coverage(seen.parts[rate], rows, rate) for rate in RATES}
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
    known = equal[np.isfinite(equal)]
    p_value = float(((known >= value - 1e-12).sum() + 1) / (len(known) + 1))
    low = 0.0 if p_value > 1 - LEVEL else interval.low
    high = max(interval.high, still.high) if still else interval.high
    # Of few posts the draws may lie above what was found.
    return Gap(value, Interval(min(low, value), max(high, value)), highest, lowest, p_value)


def _still(rows: _Rows, parts: Mapping[Rate, _Parts]) -> dict[GapName, Interval | None]:
    """Return intervals by counts for gaps of rates that no draw, or not every draw, changes.

    {} where rates are sums over sources.
    """
    if any(len(several) != 1 for found in parts.values() for several in found.values()):
        return {}
    fpr, fnr = (_still_gap(rows, parts[rate]) for rate in RATES)
    both = [one for one in (fpr, fnr) if one]
    larger = Interval(max(i.low for i in both), max(i.high for i in both)) if both else None
    return dict(zip(GAPS, (fpr, fnr, larger), strict=True))


def _still_gap(rows: _Rows, parts: _Parts) -> Interval | None:
    """Return the interval by counts; None where every group has errors and right calls."""
    found = [Hits.of(one.rows, one.wrong, rows.units) for (one,) in parts.values()]
    if all(0 < one.hits < one.n for one in found):
        return None
    return largest_difference(found)


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
    views = [{rate: _Rows.of(rows).whole(rate) for rate in RATES} for rows in (before, after)]
    rates = [{rate: rates_by_group(view[rate]) for rate in RATES} for view in views]
    seen = [_Drawn.of(view, design, draws, seed) for view in views]
    first, second = (
        _spans({rate: np.array([list(one[rate].values())]) for rate in RATES})[0] for one in rates
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


def largest_gap(predictions: Sequence[Prediction]) -> float | None:
    """Return the equalised-odds difference; None unless both rates have two groups."""
    rows, once = _Rows.of(predictions), np.ones((1, len(predictions)))
    found = float(_spans({rate: _rates(rows.whole(rate), once) for rate in RATES})[0, -1])
    return None if np.isnan(found) else found


def worst_group_f1(predictions: Sequence[Prediction]) -> float | None:
    """Return the lowest F1 of a group; None where no group has MINIMUM_N posts of both labels."""
    rows = _Rows.of(predictions)
    known = rows.of_both_labels()
    if not known:
        return None
    return float(_f1_by_group(rows, known)(np.ones((1, len(predictions)))).min())


def _spans(rates: Mapping[Rate, Floats]) -> Floats:
    """Return GAPS (draws, 3) from rates (draws, groups); equalised odds needs both others."""
    spans = [_span(rates[rate]) for rate in RATES]
    return np.stack([*spans, np.maximum(*spans)], axis=1)


def rates_by_group(parts: _Parts) -> dict[str, float]:
    """Return each group's rate: fairlearn's mean of wrong rows by group, joined over the parts."""
    from fairlearn.metrics import MetricFrame, mean_prediction

    totals = dict.fromkeys(parts, 0.0)
    for several in zip(*parts.values(), strict=True):
        named = list(zip(parts, several, strict=True))
        wrong = np.concatenate([part.wrong[part.rows] for _, part in named])
        names = np.concatenate([np.full(part.rows.sum(), name) for name, part in named])
        frame = MetricFrame(
            metrics=mean_prediction, y_true=wrong, y_pred=wrong, sensitive_features=names
        )
        for name, part in named:
            totals[name] += part.share * float(frame.by_group[name])
    return totals


def _span(rates: Floats) -> Floats:
    """Return highest minus lowest rate in each draw; NaN without two groups."""
    if rates.shape[1] < 2:
        return np.full(len(rates), np.nan)
    span: Floats = np.ptp(rates, axis=1)
    return span


def _rates(parts: _Parts, weights: Floats) -> Floats:
    """Return each group's rate in each draw (draws, groups)."""
    if not parts:
        return np.empty((len(weights), 0))
    return np.stack([_rate(several, weights) for several in parts.values()], axis=1)


def _rate(parts: Sequence[_Part], weights: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        found = [p.share * (weights @ p.wrong) / (weights @ p.rows) for p in parts]
    total: Floats = np.sum(found, axis=0)
    return total


def _coverage(parts: _Parts, rows: _Rows, rate: Rate) -> float:
    """Return the share of the label's posts about any group that the rates are computed from."""
    used = [part.rows for several in parts.values() for part in several]
    if not used:
        return 0.0
    about = rows.of_label(rate) & np.any(list(rows.groups.values()), axis=0)
    return float(np.any(used, axis=0).sum() / about.sum())


def _f1(
    rows: _Rows, intervals: Callable[[Callable[[Floats], Floats]], list[Interval | None]]
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


def _f1_by_group(rows: _Rows, groups: Mapping[str, Bools]) -> Callable[[Floats], Floats]:
    """Return what gives each group's F1 of each draw: weights (draws, rows) to (draws, groups)."""
    hate, wrong = rows.hate, rows.wrong

    def statistic(weights: Floats) -> Floats:
        found = []
        for mask in groups.values():
            right = 2 * (weights @ (mask & hate & ~wrong))
            with np.errstate(invalid="ignore"):
                found.append(right / (right + weights @ (mask & wrong)))
        return np.stack(found, axis=1)

    return statistic


def _still_f1(rows: _Rows, group: Bools) -> Interval | None:
    """Return the interval of an F1 that no draw changes."""
    hates, normals = (
        Hits.of(group & label, rows.wrong, rows.units) for label in (rows.hate, ~rows.hate)
    )
    return f1(hates, normals)
