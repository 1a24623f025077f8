"""The numbers of an evaluation as the typed model of report.json."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hsd.data.identity_swap import VERSION
from hsd.groups.group_set import GroupSet
from hsd.metrics.classification import METRIC_NAMES, ConfusionMatrix
from hsd.metrics.evaluation import BaseComparison, Evaluation
from hsd.metrics.groups import RATES, Group, Proportion
from hsd.report.context import ReportContext, not_measured
from hsd.report.numbers import SCHEMA, as_json_values
from hsd.report.report_model import EvaluationReport
from hsd.visible import visible


def evaluation_report(
    evaluation: Evaluation, provenance: Mapping[str, Any], beside: ReportContext
) -> EvaluationReport:
    """Return report.json: what was evaluated and every number of the other reports."""
    numbers = {
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
        "counted_in": _counted_in(beside.groups),
        "groups": as_json_values(_in_order(evaluation.groups, beside.groups)),
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
        "swap_terms_version": _swap_terms(evaluation, beside.groups),
        "confident_errors": as_json_values(evaluation.confident_errors),
        "operating_point": as_json_values(evaluation.operated),
        "base": evaluation.base and _base(evaluation.base, beside),
        "gate": beside.verdict,
        "not_measured": not_measured(evaluation, beside),
        "truncated_posts": evaluation.truncated_posts,
        "seen_in_training": evaluation.seen_in_training,
        "mean_response_time_s": evaluation.mean_response_time,
    }
    return EvaluationReport.model_validate(numbers)


def _in_order(found: Mapping[str, Group], groups: GroupSet) -> dict[str, Group]:
    """Return groups as their file orders them, each parent before its parts; then the others."""
    first = [] if groups.is_default else [name for name in groups.names if name in found]
    return {name: found[name] for name in dict.fromkeys([*first, *found])}


def _counted_in(groups: GroupSet) -> dict[str, Any] | None:
    if groups.is_default:
        return None
    entries = groups.file.groups
    return {
        "name": groups.name,
        "digest": groups.digest,
        "titles": {name: visible(entry.title) for name, entry in entries.items() if entry.title},
        "parents": {name: entry.parent for name, entry in entries.items() if entry.parent},
    }


def _swap_terms(evaluation: Evaluation, groups: GroupSet) -> int | None:
    return VERSION if evaluation.swaps and groups.is_default else None


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


def _rates(counts: ConfusionMatrix) -> dict[str, Any]:
    """Return both error rates with the posts behind them."""
    hits = (Proportion(counts.fp, counts.normals), Proportion(counts.fn, counts.hates))
    return {rate: {"value": p.value, "of": p.n} for rate, p in zip(RATES, hits, strict=True)}
