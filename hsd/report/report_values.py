"""What the parts of report.json are made of: shares, intervals, metrics, groups, gaps."""

from math import isfinite
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from hsd.config.strict import Strict
from hsd.metrics.drawn_rates import GapName
from hsd.metrics.groups import Rate, Share
from hsd.metrics.intervals import Interval
from hsd.prediction import Outcome


def _interval(value: Any) -> Interval:
    if isinstance(value, Interval):
        return value
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_is_number, value)):
        raise ValueError("expected a list of two numbers")
    return Interval(*value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


PAIR_SCHEMA: dict[str, Any] = {
    "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2,
}  # fmt: skip
Ends = Annotated[
    Interval,
    PlainValidator(_interval),
    PlainSerializer(lambda interval: [interval.low, interval.high]),
    WithJsonSchema(PAIR_SCHEMA),
]
"""A 95 % interval, in JSON a list of its two ends."""
# The bounds are said in the schema and not validated: a sum of floats may end a last bit above 1.
UnitNumber = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
"""A share, a rate or a p-value."""
Count = Annotated[int, Field(ge=0)]


class MetricsReport(Strict):
    """Counts and headline metrics of some posts; null where a metric is not defined."""

    n: Count
    """Posts that were counted."""
    tp: Count
    """Hateful posts called hate."""
    tn: Count
    """Normal posts called normal."""
    fp: Count
    """Normal posts called hate."""
    fn: Count
    """Hateful posts called normal."""
    accuracy: UnitNumber | None
    """Share of posts with the right label."""
    precision: UnitNumber | None
    """Share of the posts called hate that are hateful."""
    recall: UnitNumber | None
    """Share of the hateful posts that were called hate."""
    f1: UnitNumber | None
    """Harmonic mean of precision and recall of hate."""
    macro_f1: UnitNumber | None
    """Mean of the F1 of hate and the F1 of normal."""
    auroc: UnitNumber | None
    """Area under the ROC curve of the scores."""
    auprc: UnitNumber | None
    """Average precision of the scores."""

    @property
    def hates(self) -> int:
        """Posts whose true label is hate."""
        return self.tp + self.fn

    @property
    def normals(self) -> int:
        """Posts whose true label is normal."""
        return self.tn + self.fp

    def of(self, name: str) -> float | None:
        """Return the metric of a name in METRIC_NAMES."""
        value: float | None = getattr(self, name)
        return value


class IntervalsReport(Strict):
    """The 95 % interval of each headline metric; null where there is none."""

    accuracy: Ends | None
    """Wilson's interval of the accuracy."""
    precision: Ends | None
    """Wilson's interval of the precision."""
    recall: Ends | None
    """Wilson's interval of the recall."""
    f1: Ends | None
    """Bootstrap interval of the F1 of hate."""
    macro_f1: Ends | None
    """Bootstrap interval of the macro-F1."""
    auroc: Ends | None
    """Bootstrap interval of the AUROC."""
    auprc: Ends | None
    """Bootstrap interval of the average precision."""

    def of(self, name: str) -> Interval | None:
        """Return the interval of the metric of a name in METRIC_NAMES."""
        interval: Interval | None = getattr(self, name)
        return interval


class ShareReport(Strict):
    """A share of posts with its interval; null, never 0, of too few posts."""

    value: UnitNumber | None
    """The share itself."""
    interval: Ends | None
    """Wilson's 95 % interval."""
    of: Count
    """Posts that the share is of."""


class OutcomesReport(Strict):
    """How many replies there were of each kind."""

    valid: Count
    """Replies with a label, as the prompt asked for it."""
    repaired: Count
    """Replies whose label could be read although the form was wrong."""
    refusal: Count
    """Replies in which the model refused."""
    truncated: Count
    """Replies that ended before a label."""
    invalid: Count
    """Other replies without a label."""

    @property
    def n(self) -> int:
        """All replies."""
        return self.valid + self.repaired + self.unreadable

    @property
    def unreadable(self) -> int:
        """Replies without a label."""
        return self.refusal + self.truncated + self.invalid

    def of(self, outcome: Outcome) -> int:
        """Return how many replies there were of a kind."""
        count: int = getattr(self, outcome)
        return count


class CountedInReport(Strict):
    """The groups that posts are counted in, where a person chose others than the default three."""

    name: str
    """A shipped set, or the group file's name."""
    digest: str
    """What decides which names fall where."""
    titles: dict[str, str]
    """What pages call a group, where that is not its name."""
    parents: dict[str, str]
    """The group that a group is a part of."""


class GroupReport(Strict):
    """The posts about one group; an unreadable reply counts as wrong."""

    n: Count
    """Posts about the group."""
    tp: Count
    """Hateful posts called hate."""
    tn: Count
    """Normal posts called normal."""
    fp: Count
    """Normal posts called hate."""
    fn: Count
    """Hateful posts called normal."""
    hates: Count
    """Posts whose true label is hate."""
    normals: Count
    """Posts whose true label is normal."""
    false_positive_rate: ShareReport
    """Share of the normal posts that were called hate."""
    false_negative_rate: ShareReport
    """Share of the hateful posts that were called normal."""
    precision: ShareReport
    """Share of the posts called hate that are hateful."""
    selection_rate: ShareReport
    """Share of all posts that a readable reply called hate."""
    outcomes: OutcomesReport
    """How many replies there were of each kind."""

    def share(self, name: Share) -> ShareReport:
        """Return an error rate, the precision, or the share of posts called hate."""
        share: ShareReport = getattr(self, name)
        return share


class GapReport(Strict):
    """The largest difference of a rate between two groups."""

    value: UnitNumber
    """The difference; never below 0."""
    interval: Ends | None
    """Its 95 % bootstrap interval."""
    highest: str
    """The group with the highest error rate."""
    lowest: str
    """The group with the lowest error rate."""
    p_value: UnitNumber | None
    """How often chance gives as large a difference among groups with one rate."""


class GapViewReport(Strict):
    """Rates and largest differences of the groups, as they are or with sources held equal."""

    rates: dict[Rate, dict[str, UnitNumber]]
    """Each error rate by group, where it is estimable."""
    gaps: dict[GapName, GapReport]
    """Each largest difference, where two groups are estimable."""
    coverage: dict[Rate, UnitNumber]
    """Share of the posts that each rate rests on."""


class WorstGroupReport(Strict):
    """The group with the lowest F1."""

    group: str
    """The group's name."""
    f1: UnitNumber
    """Its F1 of hate."""
    interval: Ends | None
    """The 95 % interval of that F1."""


class GapsReport(Strict):
    """How far apart groups lie."""

    raw: GapViewReport
    """The groups' posts as they are."""
    standardised: GapViewReport
    """The same with the same mix of sources for every group."""
    mix: dict[GapName, Ends | None]
    """Interval of each difference, raw minus standardised."""
    worst: WorstGroupReport | None
    """The group with the lowest F1; null without a group of enough posts."""
    f1: dict[str, UnitNumber]
    """F1 of each group with enough posts of both labels."""
    f1_intervals: dict[str, Ends | None]
    """The 95 % interval of each of these."""
    disagreeing: tuple[GapName, ...]
    """Differences that the mix of sources makes or hides."""
