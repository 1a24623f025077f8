"""A chart of dots with intervals: words and numbers are HTML text, so it reads at every width."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from hsd.metrics.intervals import Interval

Mark = Literal["own", "base", "other"]
"""A filled circle, a diamond, a ring: told apart without colour."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval; a value that does not exist has no dot."""

    value: float | None
    interval: Interval | None = None
    mark: Mark = "own"


@dataclass(frozen=True, slots=True)
class DotRow:
    """A line of the chart: a name, its dots, and the same as text."""

    name: str
    dots: Sequence[Dot]
    text: str


@dataclass(frozen=True, slots=True)
class DotPanel:
    """Rows under a title."""

    title: str
    rows: Sequence[DotRow]


@dataclass(frozen=True, slots=True)
class DotChart:
    """Panels on one scale from `low` to `high`."""

    caption: str
    panels: Sequence[DotPanel]
    note: str = ""
    low: float = 0.0
    high: float = 1.0
    stacked: bool = False
    """Words above their dots, for three panels beside each other."""
    kind: str = field(default="dots", init=False)

    def at(self, value: float) -> str:
        """Return where on the scale a value lies, in per cent; what is outside lies at its end."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"

    @property
    def ticks(self) -> tuple[tuple[str, str, str], ...]:
        """Return place, words and anchor of the ticks: both ends and the middle."""
        middle = (self.low + self.high) / 2
        places = ((self.low, "start"), (middle, "middle"), (self.high, "end"))
        return tuple((self.at(value), f"{value:.2g}", anchor) for value, anchor in places)


def around_zero(rows: Sequence[DotRow]) -> float:
    """Return the end of a scale around 0 that holds all dots and intervals, a round number."""
    dots = [dot for row in rows for dot in row.dots]
    spans = [dot.interval for dot in dots if dot.interval]
    values = [dot.value for dot in dots if dot.value is not None]
    values += [end for span in spans for end in (span.low, span.high)]
    reach = max(map(abs, values), default=1.0)
    return next((end for end in (0.02, 0.05, 0.1, 0.2, 0.5) if reach <= end), 1.0)
