"""The parts of report.json about another run: the base, what changed, the gate's verdict."""

from typing import Literal

from pydantic import Field

from hsd.config.strict import Strict
from hsd.example import Label
from hsd.metrics.drawn_rates import GapName
from hsd.metrics.groups import Rate
from hsd.metrics.rule_result import Status
from hsd.report.comparability import RunSettings
from hsd.report.report_values import Count, Ends, IntervalsReport, MetricsReport, UnitNumber


class ChangeReport(Strict):
    """One number in both runs, on the same posts."""

    reference: float | None
    """The number in the reference."""
    other: float | None
    """The number in the other run."""
    difference: float | None
    """The other run minus the reference."""
    interval: Ends | None
    """Paired 95 % interval of the difference."""


class RateChangeReport(ChangeReport):
    """One error rate of one group in both runs."""

    group: str
    """The group, or `all posts`."""
    rate: Rate
    """Which error rate."""
    n: Count
    """Posts behind the rate."""
    mcnemar_p: UnitNumber | None
    """Exact two-sided p of McNemar's test."""
    holm_p: UnitNumber | None
    """The same, adjusted for all groups and both rates; null for all posts."""
    newly_broken: Count
    """Posts that were right and are wrong."""
    newly_fixed: Count
    """Posts that were wrong and are right."""


class ComparisonReport(Strict):
    """Two runs on the same posts."""

    schema_version: Literal[3] = Field(alias="schema")
    """Version of this form."""
    reference: str
    """Name of the reference."""
    other: str
    """Name of the other run."""
    n: Count
    """Posts that both answered."""
    metrics: dict[str, ChangeReport]
    """Change of each headline metric."""
    mcnemar_p: UnitNumber | None
    """Exact two-sided p of McNemar's test over all posts."""
    gaps: dict[GapName, ChangeReport]
    """Change of each largest difference between groups."""
    rates: tuple[RateChangeReport, ...]
    """Change of each error rate by group."""
    newly_broken: tuple[str, ...]
    """Ids of posts that were right and are wrong."""
    newly_fixed: tuple[str, ...]
    """Ids of posts that were wrong and are right."""


class SettingsReport(Strict):
    """How a run was asked and read; null where the run does not say."""

    prompt: str | None = None
    """Digest of the prompt."""
    mode: str | None = None
    """`score` or `generate`."""
    max_length: int | None = None
    """Longest prompt in tokens."""
    temperature: float | None = None
    """Sampling temperature of written replies."""
    engine: str | None = Field(default=None, exclude_if=lambda engine: engine is None)
    """`imported` where another program asked the model; left out where hsd did."""

    @property
    def settings(self) -> RunSettings:
        """The same, to be compared with another run's."""
        return RunSettings(self.prompt, self.mode, self.max_length, self.temperature, self.engine)


class ChangedPostReport(Strict):
    """A post whose decision changed from the base to this model."""

    id: str
    """The post's id."""
    true_label: Label
    """Its true label."""
    groups: tuple[str, ...]
    """The groups that it is about."""
    now: Literal["newly wrong", "newly right"]
    """What became of it."""


class BaseReport(Strict):
    """The untouched base on the same posts."""

    name: str
    """The base's run."""
    metrics: MetricsReport
    """Headline metrics of the base."""
    intervals: IntervalsReport
    """Their 95 % intervals."""
    comparison: ComparisonReport
    """What changed from the base to this model."""
    asked: SettingsReport = SettingsReport()
    """How the base was asked and read."""
    turned: tuple[ChangedPostReport, ...]
    """The posts whose decision changed."""


class RuleReport(Strict):
    """One rule of the gate."""

    rule: str
    """The rule in words."""
    about: str
    """The group that the rule is about, or `all posts`."""
    status: Status
    """What became of the rule."""
    value: float | None
    """What was measured."""
    interval: Ends | None
    """Its 95 % interval."""
    limit: float
    """The limit that it has to keep."""
    n: Count
    """Posts behind it."""
    needed: int | None
    """Posts that would decide an undecided rule."""
    why: str = ""
    """Why the rule is undecided, where it is not for want of posts."""


class GateReport(Strict):
    """The gate's verdict."""

    schema_version: Literal[2] = Field(alias="schema")
    """Version of this form."""
    status: Status
    """FAIL if a rule is broken, else UNDERPOWERED if one is undecided, else PASS."""
    reference: str | None
    """The run that rises are measured against."""
    run: str
    """The run that the verdict is about."""
    checks: tuple[RuleReport, ...]
    """Every rule."""
    not_judged: tuple[str, ...]
    """What no rule is about, and why."""
    default_rules: bool = False
    """Nobody asked the gate: the default rules were applied, to the likelier label of each post."""
