"""Rates of all groups in every draw of a bootstrap, and how far apart they lie in each.

All draws of two views with one seed are the same draws, so that their difference can be taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hsd.metrics.bootstrap import Design, drawn
from hsd.metrics.group_masks import Parts, rates_in_draws
from hsd.metrics.groups import RATES, Rate
from hsd.metrics.ranking import Floats

GapName = Literal["false_positive_rate", "equal_opportunity", "equalised_odds"]
GAPS: tuple[GapName, ...] = ("false_positive_rate", "equal_opportunity", "equalised_odds")


@dataclass(frozen=True, slots=True)
class DrawnRates:
    """A view's parts, and each group's rate in every draw: (draws, groups) for each rate."""

    parts: Mapping[Rate, Parts]
    rates: Mapping[Rate, Floats]

    @classmethod
    def of(cls, parts: Mapping[Rate, Parts], design: Design, draws: int, seed: int) -> "DrawnRates":
        """Draw the rates of all groups, both error rates with the same draws."""

        rates = [rates_in_draws(parts[rate]) for rate in RATES]

        def statistic(weights: Floats) -> Floats:
            return np.concatenate([of(weights) for of in rates], axis=1)

        found = drawn(statistic, design, draws, seed)
        first = len(parts[RATES[0]])
        return cls(parts, dict(zip(RATES, (found[:, :first], found[:, first:]), strict=True)))

    def spans(self) -> Floats:
        """Return GAPS of each draw (draws, 3)."""
        return spans_of(self.rates)

    def equal_spans(self, point: Mapping[Rate, Mapping[str, float]]) -> Floats:
        """Return GAPS of each draw as if all groups had one rate: only their chance is left."""
        return spans_of({r: self.rates[r] - np.array(list(point[r].values())) for r in RATES})


def spans_of(rates: Mapping[Rate, Floats]) -> Floats:
    """Return GAPS (draws, 3) from rates (draws, groups); equalised odds needs both others."""
    spans = [_span(rates[rate]) for rate in RATES]
    return np.stack([*spans, np.maximum(*spans)], axis=1)


def _span(rates: Floats) -> Floats:
    """Return highest minus lowest rate in each draw; NaN without two groups."""
    if rates.shape[1] < 2:
        return np.full(len(rates), np.nan)
    span: Floats = np.ptp(rates, axis=1)
    return span
