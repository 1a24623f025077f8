"""The numbers of the reports as JSON. `schema` grows when a key changes its meaning or goes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hsd.metrics.changes import GapChange, MetricChange, RateChange
from hsd.metrics.classification import METRIC_NAMES, Metrics
from hsd.metrics.comparison import Comparison
from hsd.metrics.contrast import Contrasts
from hsd.metrics.gaps import Gaps
from hsd.metrics.groups import SHARES, Group, Proportion
from hsd.metrics.intervals import Interval
from hsd.metrics.leaderboard import Leaderboard
from hsd.metrics.slices import Slice
from hsd.prediction import Prediction

SCHEMA = 3


def comparison_numbers(comparison: Comparison) -> dict[str, Any]:
    """Return one comparison as JSON: differences are other minus reference."""
    return {
        "schema": SCHEMA,
        "reference": comparison.reference,
        "other": comparison.other,
        "n": comparison.n,
        "metrics": {change.name: _metric_change(change) for change in comparison.metrics},
        "mcnemar_p": comparison.p_value,
        "gaps": {change.name: _metric_change(change) for change in comparison.gaps},
        "rates": [_rate_change(change) for change in comparison.rates],
        "newly_broken": list(comparison.broken),
        "newly_fixed": list(comparison.fixed),
    }


def board_numbers(board: Leaderboard) -> dict[str, Any]:
    """Return a leaderboard as JSON: runs from best to worst, then failures."""
    return {
        "schema": SCHEMA,
        "metric": board.metric,
        "n": board.n,
        "standings": [
            {
                "name": one.name,
                "metrics": as_json_values(one.metrics),
                "interval": as_json_values(one.interval),
                "from_best": as_json_values(one.from_best),
                "apart_from_best": one.is_apart,
                "gaps": as_json_values(one.gaps),
                "outcomes": dict(one.outcomes.counts),
                "gate": one.verdict and one.verdict.status.value,
            }
            for one in board.standings
        ],
        "failures": [{"name": e.name, "reason": e.failure} for e in board.failures],
    }


def as_json_values(value: Any) -> Any:
    """Return a value of hsd.metrics as JSON, all the way down. No post's text is in it."""
    if type(value) in _SPECIAL:
        return _SPECIAL[type(value)](value)
    if is_dataclass(value):
        return {field.name: as_json_values(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_values(item) for item in value]
    return value


def _metrics(metrics: Metrics) -> dict[str, Any]:
    values = {name: getattr(metrics, name) for name in METRIC_NAMES}
    return {"n": metrics.counts.n, **asdict(metrics.counts), **values}


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
    return {"value": share.value, "interval": as_json_values(share.interval), "of": share.n}


def _gaps(gaps: Gaps) -> dict[str, Any]:
    return {
        "raw": as_json_values(gaps.raw),
        "standardised": as_json_values(gaps.standardised),
        "mix": as_json_values(gaps.mix),
        "worst": as_json_values(gaps.worst),
        "f1": as_json_values(gaps.f1),
        "f1_intervals": as_json_values(gaps.f1_intervals),
        "disagreeing": list(gaps.disagreeing),
    }


def _slice(one: Slice) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "metrics": _metrics(one.metrics),
        "intervals": as_json_values(one.intervals),
        **{name: _share(one.group.share(name)) for name in SHARES},
    }


def _contrasts(one: Contrasts) -> dict[str, Any]:
    counts = ("functionality", "n", "both", "only_reference", "only_contrast", "unread")
    shares = ("consistency", "same_call")
    return {name: as_json_values(getattr(one, name)) for name in (*counts, *shares)}


def _post(prediction: Prediction) -> dict[str, Any]:
    """Return whose post it is and what was said of it, without its text."""
    said = ("id", "true_label", "label", "score", "source_dataset")
    return {name: getattr(prediction, name) for name in said}


_SPECIAL: dict[type, Callable[[Any], Any]] = {
    Interval: lambda interval: [interval.low, interval.high],
    Metrics: _metrics,
    Group: _group,
    Proportion: _share,
    Gaps: _gaps,
    Slice: _slice,
    Contrasts: _contrasts,
    Prediction: _post,
    Comparison: lambda comparison: comparison_numbers(comparison),
}


def _metric_change(change: MetricChange | GapChange) -> dict[str, Any]:
    return {
        "reference": change.reference,
        "other": change.other,
        "difference": change.difference,
        "interval": as_json_values(change.interval),
    }


def _rate_change(change: RateChange) -> dict[str, Any]:
    return {
        "group": change.group,
        "rate": change.rate,
        "n": change.n,
        "reference": change.reference,
        "other": change.other,
        "difference": change.difference,
        "interval": as_json_values(change.interval),
        "mcnemar_p": change.p_value,
        "holm_p": change.holm_p,
        "newly_broken": change.broken,
        "newly_fixed": change.fixed,
    }
