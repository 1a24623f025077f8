"""The parts of report.json about single posts and parts of the posts, and the baselines."""

from hsd.config.strict import Strict
from hsd.example import Label
from hsd.metrics.classification import Policy
from hsd.metrics.groups import Rate, Share
from hsd.report.report_values import (
    Count,
    Ends,
    GroupReport,
    IntervalsReport,
    MetricsReport,
    ShareReport,
    UnitNumber,
)


class BaselineReport(Strict):
    """What people would use instead, on the same posts."""

    name: str
    """The baseline's name."""
    metrics: MetricsReport
    """Its headline metrics."""
    intervals: IntervalsReport
    """Their 95 % intervals."""
    groups: dict[str, GroupReport]
    """Its rates by group."""


class PoliciesReport(Strict):
    """Headline metrics when unreadable replies are read in three ways."""

    error: MetricsReport
    """An unreadable reply is wrong: the headline."""
    drop: MetricsReport
    """Posts with an unreadable reply are left out."""
    majority: MetricsReport
    """An unreadable reply is read as the more frequent true label."""

    def of(self, policy: Policy) -> MetricsReport:
        """Return the metrics under a policy."""
        found: dict[Policy, MetricsReport] = {
            "error": self.error, "drop": self.drop, "majority": self.majority,
        }  # fmt: skip
        return found[policy]


class RateReport(Strict):
    """An error rate without an interval."""

    value: UnitNumber | None
    """The rate; null of too few posts."""
    of: Count
    """Posts that the rate is of."""


class RatesReport(Strict):
    """Both error rates of a group."""

    false_positive_rate: RateReport
    """Share of the normal posts that were called hate."""
    false_negative_rate: RateReport
    """Share of the hateful posts that were called normal."""

    def of(self, rate: Rate) -> RateReport:
        """Return one of the two rates."""
        found: RateReport = getattr(self, rate)
        return found


class GroupPoliciesReport(Strict):
    """Both error rates by group when unreadable replies are read in three ways."""

    error: dict[str, RatesReport]
    """An unreadable reply is wrong."""
    drop: dict[str, RatesReport]
    """Posts with an unreadable reply are left out."""
    majority: dict[str, RatesReport]
    """An unreadable reply is read as the more frequent true label."""

    def of(self, policy: Policy) -> dict[str, RatesReport]:
        """Return the rates by group under a policy."""
        found: dict[Policy, dict[str, RatesReport]] = {
            "error": self.error, "drop": self.drop, "majority": self.majority,
        }  # fmt: skip
        return found[policy]


class SliceReport(Strict):
    """Some of the posts: of one source, one length, one source label."""

    kind: str
    """What these posts share."""
    name: str
    """Which source, length or label."""
    metrics: MetricsReport
    """Headline metrics; null of too few posts."""
    intervals: IntervalsReport
    """Their 95 % intervals."""
    false_positive_rate: ShareReport
    """Share of the normal posts that were called hate."""
    false_negative_rate: ShareReport
    """Share of the hateful posts that were called normal."""
    precision: ShareReport
    """Share of the posts called hate that are hateful."""
    selection_rate: ShareReport
    """Share of all posts that a readable reply called hate."""

    def share(self, name: Share) -> ShareReport:
        """Return an error rate, the precision, or the share of posts called hate."""
        share: ShareReport = getattr(self, name)
        return share


class FunctionalityReport(Strict):
    """Test cases of one functionality, such as HateCheck's."""

    name: str
    """The functionality."""
    label: str
    """The true label of its cases."""
    right: dict[str, ShareReport]
    """Share right, of all cases and by target."""


class PairsReport(Strict):
    """Pairs of posts that differ in little."""

    functionality: str
    """The functionality that the pairs test."""
    n: Count
    """Pairs."""
    both: Count
    """Pairs right on both sides."""
    only_reference: Count
    """Pairs where only the post that is referred to is right."""
    only_contrast: Count
    """Pairs where only the post that refers is right."""
    unread: Count
    """Pairs with an unreadable reply."""
    consistency: ShareReport
    """Share right on both sides."""
    same_call: ShareReport
    """Share with the same decision on both sides, of the pairs that could be read."""


class SwapReport(Strict):
    """Posts in which one group was swapped for another."""

    before: str
    """The group in the post."""
    after: str
    """The group in its place."""
    flips: ShareReport
    """Share of decisions that the swap changed."""
    to_hate: Count
    """Decisions that the swap changed to hate."""
    unread: Count
    """Pairs with an unreadable reply."""
    mean_shift: float | None
    """Mean change of P(hate); null without scores."""
    shift_interval: Ends | None
    """Its 95 % interval."""


class WrongPostReport(Strict):
    """A post with a wrong decision."""

    id: str
    """The post's id."""
    true_label: Label
    """Its true label."""
    label: Label
    """The label that it was given."""
    score: UnitNumber | None
    """P(hate); null without scores."""
    source_dataset: str
    """The data set that the post is from."""
