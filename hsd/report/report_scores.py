"""The parts of report.json about scores: AUCs, calibration, curves, noise, thresholds."""

from typing import Annotated

from pydantic import Field

from hsd.config.strict import Strict
from hsd.metrics.bias import Kind
from hsd.metrics.groups import Rate
from hsd.report.report_values import (
    Count,
    Ends,
    GapsReport,
    GroupReport,
    IntervalsReport,
    MetricsReport,
    UnitNumber,
)

CurvePoint = tuple[float, float]


class AreaReport(Strict):
    """One AUC of one group."""

    value: UnitNumber | None
    """The AUC; null of too few posts."""
    interval: Ends | None
    """Its 95 % bootstrap interval."""
    n: Count
    """Posts behind it."""


class AreasReport(Strict):
    """The three AUCs of a group (Borkan et al., 2019)."""

    subgroup: AreaReport
    """Within the group."""
    bpsn: AreaReport
    """The group's normal posts against the other groups' hateful ones."""
    bnsp: AreaReport
    """The group's hateful posts against the other groups' normal ones."""

    def of(self, kind: Kind) -> AreaReport:
        """Return the AUC of a kind."""
        areas: dict[Kind, AreaReport] = {
            "subgroup": self.subgroup, "bpsn": self.bpsn, "bnsp": self.bnsp,
        }  # fmt: skip
        return areas[kind]


class GroupAreasReport(Strict):
    """AUCs by group and their generalised means."""

    groups: dict[str, AreasReport]
    """The AUCs of each group."""
    means: AreasReport
    """The generalised mean (p = -5) of each AUC over groups."""


class BinReport(Strict):
    """The posts whose scores lie between two ends."""

    low: UnitNumber
    """The lower end."""
    high: UnitNumber
    """The upper end."""
    n: Count
    """Posts in the bin."""
    mean_score: UnitNumber
    """Mean P(hate) of these posts."""
    share_hate: UnitNumber
    """Share of these posts that is hateful."""


class CalibrationReport(Strict):
    """Whether a score means what it says."""

    n: Count
    """Posts with a score."""
    ece: UnitNumber
    """Expected calibration error."""
    ece_interval: Ends | None
    """Its 95 % interval."""
    ece_p: UnitNumber
    """How often scores that mean what they say would have so large an error."""
    brier: UnitNumber
    """Brier score."""
    brier_interval: Ends | None
    """Its 95 % interval."""
    bins: tuple[BinReport, ...]
    """The reliability bins that hold posts."""


class ApartReport(Strict):
    """How far scores lie from a target."""

    ece: UnitNumber
    """Expected calibration error."""
    brier: UnitNumber
    """Brier score."""
    brier_interval: Ends | None
    """Its 95 % interval."""
    log_loss: Annotated[float, Field(ge=0)]
    """Log-loss in nats."""
    log_loss_interval: Ends | None
    """Its 95 % interval."""


class ShareCalibrationReport(Strict):
    """Scores against the share of annotators who said hate, and against the label."""

    n: Count
    """Posts with a share."""
    disputed: Count
    """Posts whose annotators disagree."""
    least_log_loss: Annotated[float, Field(ge=0)]
    """Log-loss of scores that equal the shares: none can be lower."""
    against_share: ApartReport
    """Scores against shares."""
    against_label: ApartReport
    """Scores against labels."""


class CurveReport(Strict):
    """Error rates of some posts over the threshold, with ROC and precision-recall curves."""

    n_hate: Count
    """Hateful posts."""
    n_normal: Count
    """Normal posts."""
    thresholds: tuple[UnitNumber, ...]
    """The grid of thresholds."""
    false_positive_rate: tuple[UnitNumber, ...] | None
    """The rate at each threshold; null of too few posts."""
    false_negative_rate: tuple[UnitNumber, ...] | None
    """The rate at each threshold; null of too few posts."""
    roc: tuple[CurvePoint, ...] | None
    """Pairs of false-positive rate and recall."""
    pr: tuple[CurvePoint, ...] | None
    """Pairs of recall and precision."""

    def rate(self, name: Rate) -> tuple[float, ...] | None:
        """Return one of the two error rates over the threshold."""
        rates: tuple[float, ...] | None = getattr(self, name)
        return rates


class NearReport(Strict):
    """Posts whose decision the noise of scores may change."""

    threshold: float
    """The threshold in question."""
    moves: float
    """How far a score at the threshold may move."""
    posts: Count
    """Posts that lie that near the threshold."""


class NoiseReport(Strict):
    """How scores differ when a post is scored alone and in its batch."""

    dtype: str
    """The number format that scores were computed in."""
    posts: Count
    """Posts that were scored both ways."""
    mean: float
    """Mean difference of P(hate)."""
    largest: float
    """Largest difference of P(hate)."""
    largest_log_odds: float
    """Largest difference of log-odds."""
    near: tuple[NearReport, ...]
    """The same at each threshold."""


class PrevalenceReport(Strict):
    """What the decisions would mean where so many posts are hateful."""

    prevalence: UnitNumber
    """Share of all posts that is hateful."""
    precision: UnitNumber | None
    """Precision at that share."""
    interval: Ends | None
    """Its 95 % interval."""
    flagged: float
    """Posts called hate in 1,000."""
    missed: float
    """Hateful posts missed in 1,000."""


class ChoiceReport(Strict):
    """A threshold on the posts that it was chosen on."""

    threshold: float
    """The threshold on P(hate)."""
    f1: UnitNumber
    """F1 of hate there."""
    precision: UnitNumber | None
    """Precision there."""
    recall: UnitNumber
    """Recall there."""
    largest_gap: UnitNumber | None
    """Largest difference of an error rate between groups there."""


class PointReport(Strict):
    """A frozen threshold, and how it was chosen."""

    threshold: float
    """The threshold on P(hate) as the model gives it."""
    temperature: float
    """The temperature that calibrates scores."""
    rule: str
    """The rule that chose the threshold."""
    chosen_on: str
    """The run that the threshold was chosen on."""
    rows: Count
    """Posts of that run."""
    rows_sha256: str
    """Digest of their ids and texts."""
    choice: ChoiceReport
    """What the threshold gave on these posts."""
    own_scale: str | None = Field(default=None, exclude_if=lambda said: said is None)
    """The threshold in the scale of imported scores; left out where that is P(hate)."""


class OperatedReport(Strict):
    """The evaluation at the frozen threshold."""

    point: PointReport
    """The frozen threshold."""
    metrics: MetricsReport
    """Headline metrics at the threshold."""
    intervals: IntervalsReport
    """Their 95 % intervals."""
    groups: dict[str, GroupReport]
    """Each group at the threshold."""
    gaps: GapsReport
    """How far apart groups lie at the threshold."""
    calibration: CalibrationReport | None
    """Calibration at the frozen temperature; null of too few posts."""
    prevalences: tuple[PrevalenceReport, ...]
    """What the threshold would mean on a platform."""
