"""The numbers of the reports as JSON. `schema` grows when a key changes its meaning or goes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hsd.data.identity_swap import version
from hsd.metrics.changes import GapChange, MetricChange, RateChange
from hsd.metrics.classification import METRIC_NAMES, ConfusionMatrix, Metrics
from hsd.metrics.comparison import Comparison
from hsd.metrics.contrast import Contrasts
from hsd.metrics.evaluation import BaseComparison, Evaluation
from hsd.metrics.gaps import Gaps
from hsd.metrics.groups import RATES, SHARES, Group, Proportion
from hsd.metrics.intervals import Interval
from hsd.metrics.leaderboard import Leaderboard
from hsd.metrics.slices import Slice
from hsd.prediction import Prediction
from hsd.report.context import ReportContext, not_measured

SCHEMA = 3


def evaluation_numbers(
    evaluation: Evaluation, provenance: Mapping[str, Any], beside: ReportContext
) -> dict[str, Any]:
    """Return report.json: what was evaluated and every number of the other reports."""
    return {
        "schema": SCHEMA,
        "strategy": evaluation.strategy,
        "provenance": {
            **provenance,
            "training_rows": beside.training.origin if beside.training else beside.training_note,
        },
        "headline": as_json_values(evaluation.headline),
        "intervals": {name: as_json_values(evaluation.intervals[name]) for name in METRIC_NAMES},
        "policies": as_json_values(evaluation.policies),
        "baselines": as_json_values(evaluation.baselines),
        "outcomes": dict(evaluation.outcomes.counts),
        "unreadable_rate": evaluation.outcomes.unreadable_rate,
        "unreadable_by_group_p": evaluation.unreadable_by_group_p,
        "groups": as_json_values(evaluation.groups),
        "policies_by_group": {
            policy: {name: _rates(counts) for name, counts in found.items()}
            for policy, found in evaluation.group_policies.items()
        },
        "personas": as_json_values(evaluation.personas),
        "gaps": as_json_values(evaluation.gaps),
        "auc_by_group": as_json_values(evaluation.bias),
        "calibration": as_json_values(evaluation.calibration),
        "calibration_by_group": as_json_values(evaluation.group_calibration),
        "calibration_against_share": as_json_values(evaluation.share_calibration),
        "curves": as_json_values(evaluation.curves),
        "score_noise": _noise(evaluation),
        "at_prevalence": as_json_values(evaluation.prevalences),
        "slices": as_json_values(evaluation.slices),
        "functionalities": as_json_values(evaluation.functionalities),
        "contrasts": [as_json_values(c) for c in evaluation.contrasts if not c.keeps_label],
        "invariances": [as_json_values(c) for c in evaluation.contrasts if c.keeps_label],
        "swaps": as_json_values(evaluation.swaps),
        "swap_terms_version": version() if evaluation.swaps else None,
        "confident_errors": as_json_values(evaluation.confident_errors),
        "operating_point": as_json_values(evaluation.operated),
        "base": evaluation.base and _base(evaluation.base, beside),
        "gate": beside.verdict,
        "not_measured": not_measured(evaluation, beside),
        "truncated_posts": evaluation.truncated_posts,
        "seen_in_training": evaluation.seen_in_training,
        "mean_response_time_s": evaluation.mean_response_time,
    }


def _noise(evaluation: Evaluation) -> dict[str, Any] | None:
    if evaluation.noise is None:
        return None
    return {**as_json_values(evaluation.noise), "near": as_json_values(evaluation.near)}


def _base(base: BaseComparison, beside: ReportContext) -> dict[str, Any]:
    broken = set(base.comparison.broken)
    turned = [
        {
            "id": row.id,
            "true_label": row.true_label,
            "groups": list(row.groups),
            "now": "newly wrong" if row.id in broken else "newly right",
        }
        for row in base.turned
    ]
    return {**as_json_values(base), "asked": asdict(beside.base_asked), "turned": turned}


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


def _rates(counts: ConfusionMatrix) -> dict[str, Any]:
    """Return both error rates with the posts behind them."""
    hits = (Proportion(counts.fp, counts.normals), Proportion(counts.fn, counts.hates))
    return {rate: {"value": p.value, "of": p.n} for rate, p in zip(RATES, hits, strict=True)}


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
