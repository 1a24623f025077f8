"""report.json as one typed model; report.schema.json is generated from it."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from hsd.config.strict import Strict
from hsd.report.report_changes import BaseReport, GateReport
from hsd.report.report_parts import (
    BaselineReport,
    FunctionalityReport,
    GroupPoliciesReport,
    PairsReport,
    PoliciesReport,
    SliceReport,
    SwapReport,
    WrongPostReport,
)
from hsd.report.report_scores import (
    CalibrationReport,
    CurveReport,
    GroupAreasReport,
    NoiseReport,
    OperatedReport,
    PrevalenceReport,
    ShareCalibrationReport,
)
from hsd.report.report_values import (
    Count,
    CountedInReport,
    GapsReport,
    GroupReport,
    IntervalsReport,
    MetricsReport,
    OutcomesReport,
    UnitNumber,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class EvaluationReport(Strict):
    """report.json of `hsd evaluate`, schema 3: what was evaluated, and every number of the reports.

    No post's text is in it.
    """

    schema_version: Literal[3] = Field(alias="schema")
    """Version of this form; grows when a key changes its meaning or goes."""
    strategy: str
    """The prompt's strategy."""
    provenance: Annotated[dict[str, Any], Field(json_schema_extra={"required": ["training_rows"]})]
    """Model, data, prompt, settings, date and packages; where the training rows came from."""
    headline: MetricsReport
    """Metrics of all posts; an unreadable reply counts as wrong."""
    intervals: IntervalsReport
    """The 95 % intervals of the headline."""
    policies: PoliciesReport
    """The headline when unreadable replies are read in other ways."""
    baselines: Annotated[tuple[BaselineReport, ...], Field(min_length=2)]
    """What people would use instead, on the same posts."""
    outcomes: OutcomesReport
    """How many replies there were of each kind."""
    unreadable_rate: UnitNumber | None
    """Share of replies without a label."""
    unreadable_by_group_p: UnitNumber | None
    """How often chance spreads unreadable replies as unevenly over groups."""
    counted_in: CountedInReport | None = None
    """The groups that posts are counted in; null for the default three."""
    groups: dict[str, GroupReport]
    """Rates of the posts about each group; `none` are posts about no group."""
    policies_by_group: GroupPoliciesReport
    """Error rates by group when unreadable replies are read in other ways."""
    personas: dict[str, GroupReport]
    """Rates by persona tag, which are finer than groups."""
    gaps: GapsReport
    """How far apart groups lie."""
    auc_by_group: GroupAreasReport | None
    """AUCs by group; null without scores."""
    calibration: CalibrationReport | None
    """Calibration of all posts; null without scores."""
    calibration_by_group: dict[str, CalibrationReport]
    """Calibration of each group with enough posts."""
    calibration_against_share: ShareCalibrationReport | None
    """Calibration against the share of annotators; null without shares."""
    curves: dict[str, CurveReport]
    """Curves of all posts and each group; empty without scores."""
    score_noise: NoiseReport | None
    """How far scores move by themselves; null where that was not measured."""
    at_prevalence: tuple[PrevalenceReport, ...]
    """What the decisions would mean on a platform."""
    slices: tuple[SliceReport, ...]
    """Parts of the posts."""
    functionalities: tuple[FunctionalityReport, ...]
    """Test cases by functionality."""
    contrasts: tuple[PairsReport, ...]
    """Pairs whose labels differ."""
    invariances: tuple[PairsReport, ...]
    """Pairs whose label stays."""
    swaps: tuple[SwapReport, ...]
    """Posts in which one group was swapped for another."""
    swap_terms_version: int | None
    """Version of the default term list of the swaps; null for another list, and without swaps."""
    confident_errors: dict[str, tuple[WrongPostReport, ...]]
    """The most confident errors of each group."""
    operating_point: OperatedReport | None
    """The evaluation at a frozen threshold; null without one."""
    base: BaseReport | None
    """The untouched base on the same posts; null without one."""
    gate: GateReport | None
    """The gate's verdict; null without one."""
    not_measured: Annotated[tuple[str, ...], Field(min_length=1)]
    """What must not be read into the report."""
    truncated_posts: Count | None
    """Posts that were cut to fit the model; null where another program asked it."""
    seen_in_training: Count | None
    """Posts that the model was trained on; null where that is unknown."""
    mean_response_time_s: float | None
    """Mean seconds for a post; null where another program asked the model."""

    def title(self, group: str) -> str:
        """Return what pages call a group."""
        return self.counted_in.titles.get(group, group) if self.counted_in else group


def report_schema() -> str:
    """Return report.schema.json."""
    schema = _untitled(EvaluationReport.model_json_schema(mode="serialization", by_alias=True))
    title = "report.json of hsd evaluate, schema 3"
    return json.dumps({"$schema": DIALECT, **schema, "title": title}, indent=2) + "\n"


def _untitled(part: Any) -> Any:
    """Return a schema without pydantic's titles, which only repeat the keys."""
    if isinstance(part, dict):
        return {k: _untitled(v) for k, v in part.items() if k != "title" or not isinstance(v, str)}
    return [*map(_untitled, part)] if isinstance(part, list) else part
