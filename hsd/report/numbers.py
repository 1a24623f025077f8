"""The numbers of the reports as JSON. `schema` grows when a key changes its meaning or goes."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hsd.metrics.baselines import Baseline
from hsd.metrics.classification import METRIC_NAMES, Metrics
from hsd.metrics.comparison import Comparison, MetricChange, RateChange
from hsd.metrics.evaluation import Evaluation
from hsd.metrics.gaps import Gaps
from hsd.metrics.groups import SHARES, Group, Proportion
from hsd.metrics.intervals import Interval

SCHEMA = 2


def evaluation_numbers(evaluation: Evaluation, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return report.json: what was evaluated and every number of the text report."""
    return {
        "schema": SCHEMA,
        "strategy": evaluation.strategy,
        "provenance": dict(provenance),
        "headline": _metrics(evaluation.headline),
        "intervals": {name: _ends(evaluation.intervals[name]) for name in METRIC_NAMES},
        "policies": {policy: _metrics(m) for policy, m in evaluation.policies.items()},
        "baselines": [_baseline(baseline) for baseline in evaluation.baselines],
        "outcomes": dict(evaluation.outcomes.counts),
        "unreadable_rate": evaluation.outcomes.unreadable_rate,
        "groups": {name: _group(group) for name, group in evaluation.groups.items()},
        "personas": {name: _group(group) for name, group in evaluation.personas.items()},
        "gaps": _gaps(evaluation.gaps),
        "auc_by_group": plain(evaluation.bias),
        "truncated_posts": evaluation.truncated_posts,
        "mean_response_time_s": evaluation.mean_response_time,
    }


def comparison_numbers(comparison: Comparison) -> dict[str, Any]:
    """Return one comparison as JSON: differences are other minus reference."""
    return {
        "schema": SCHEMA,
        "reference": comparison.reference,
        "other": comparison.other,
        "n": comparison.n,
        "metrics": {change.name: _metric_change(change) for change in comparison.metrics},
        "mcnemar_p": comparison.p_value,
        "rates": [_rate_change(change) for change in comparison.rates],
        "newly_broken": list(comparison.broken),
        "newly_fixed": list(comparison.fixed),
    }


def _metrics(metrics: Metrics) -> dict[str, Any]:
    values = {name: getattr(metrics, name) for name in METRIC_NAMES}
    return {"n": metrics.counts.n, **asdict(metrics.counts), **values}


def plain(value: Any) -> Any:
    """Return dataclasses as objects and intervals as [low, high], all the way down."""
    if isinstance(value, Interval):
        return [value.low, value.high]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _baseline(baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.name,
        "metrics": _metrics(baseline.metrics),
        "intervals": plain(baseline.intervals),
        "groups": {name: _group(group) for name, group in baseline.groups.items()},
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "n": group.counts.n,
        **asdict(group.counts),
        "hates": group.counts.hates,
        "normals": group.counts.normals,
        **{name: _share(group.share(name)) for name in SHARES},
        "outcomes": dict(group.outcomes.counts),
    }


def _share(share: Proportion) -> dict[str, Any]:
    return {"value": share.value, "interval": plain(share.interval), "of": share.n}


def _gaps(gaps: Gaps) -> dict[str, Any]:
    return {**plain(gaps), "disagreeing": list(gaps.disagreeing)}


def _metric_change(change: MetricChange) -> dict[str, Any]:
    return {
        "reference": change.reference,
        "other": change.other,
        "difference": change.difference,
        "interval": _ends(change.interval),
    }


def _rate_change(change: RateChange) -> dict[str, Any]:
    return {
        "group": change.group,
        "rate": change.rate,
        "n": change.n,
        "reference": change.reference,
        "other": change.other,
        "difference": change.difference,
        "interval": _ends(change.interval),
        "mcnemar_p": change.p_value,
        "newly_broken": change.broken,
        "newly_fixed": change.fixed,
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
