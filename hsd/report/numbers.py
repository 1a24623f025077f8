"""The numbers of the reports as JSON. `schema` grows when a key changes its meaning or goes."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hsd.metrics.classification import METRIC_NAMES, Counts, Metrics
from hsd.metrics.comparison import Comparison, MetricChange, RateChange
from hsd.metrics.evaluation import Evaluation
from hsd.metrics.groups import Difference, Group
from hsd.metrics.intervals import Interval, wilson

SCHEMA = 1


def evaluation_numbers(evaluation: Evaluation, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return report.json: what was evaluated and every number of the text report."""
    return {
        "schema": SCHEMA,
        "strategy": evaluation.strategy,
        "provenance": dict(provenance),
        "headline": _metrics(evaluation.headline),
        "intervals": {name: _ends(evaluation.intervals[name]) for name in METRIC_NAMES},
        "policies": {policy: _metrics(m) for policy, m in evaluation.policies.items()},
        "always_hate": _metrics(evaluation.always_hate),
        "outcomes": dict(evaluation.outcomes.counts),
        "unreadable_rate": evaluation.outcomes.unreadable_rate,
        "groups": {name: _group(group) for name, group in evaluation.groups.items()},
        "personas": {name: _group(group) for name, group in evaluation.personas.items()},
        "differences": {d.rate: _difference(d) for d in evaluation.differences},
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


def _group(group: Group) -> dict[str, Any]:
    counts: Counts = group.counts
    return {
        "n": counts.n,
        **asdict(counts),
        "false_positive_rate": counts.false_positive_rate,
        "false_positive_rate_interval": _ends(wilson(counts.fp, counts.normals)),
        "false_negative_rate": counts.false_negative_rate,
        "false_negative_rate_interval": _ends(wilson(counts.fn, counts.hates)),
        "outcomes": dict(group.outcomes.counts),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "value": difference.value,
        "highest": difference.highest.name,
        "lowest": difference.lowest.name,
    }


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
