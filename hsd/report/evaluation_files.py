"""The files of one evaluation: CSVs with the promised columns first, text report, report.json.

Older scripts read these columns by name: the promised ones keep names and order, ours follow.
A value that does not exist is an empty cell, never 0.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd.config.gate_rules import GateRules
from hsd.groups.group_names import OTHER
from hsd.groups.group_set import GroupSet
from hsd.io.files import write_atomic
from hsd.metrics.classification import METRIC_NAMES, POLICIES, ConfusionMatrix
from hsd.metrics.drawn_rates import GAPS
from hsd.metrics.evaluation import Evaluation, summarize
from hsd.metrics.gate import gate
from hsd.metrics.groups import RATES, Group
from hsd.metrics.intervals import Interval
from hsd.metrics.outcomes import READABLE
from hsd.prediction import Prediction
from hsd.report.context import ReportContext
from hsd.report.evaluation_page import evaluation_page
from hsd.report.evaluation_report import evaluation_report
from hsd.report.gate_section import gate_report
from hsd.report.report_file import write_report
from hsd.report.report_model import EvaluationReport
from hsd.report.text_report import text_report
from hsd.visible import visible

PAGE = "report.html"
_OPERATORS = "=+@＝＋－＠-"
"""What a formula begins with; some programs read the wide forms as the narrow ones."""
FORMULA_STARTS = (*_OPERATORS, "\t", "\r", "\n")
_INSIDE = re.compile(rf"([;\t\r\n]\"*)(?=[{_OPERATORS}])(?!-\S?(?:[\s.,!?]|$))")
"""Where a spreadsheet whose cells are parted by `;` or tabs would see a formula begin within a
cell. `;-)` is none."""
_NUMBER = re.compile(r"-\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WITH_POSTS = ("validation_results", "test_samples")
Row = dict[str, Any]


def write_evaluation(
    folder: Path,
    predictions: Sequence[Prediction],
    provenance: Mapping[str, Any],
    stamp: str,
    beside: ReportContext | None = None,
) -> EvaluationReport:
    """Write every report of an evaluation into `folder` and return that of report.json.

    `provenance` says what was evaluated (model, data, prompt, ...) and is copied as it is;
    `stamp` is the run's YYYYMMDD_HHMMSS.
    """
    beside = beside or ReportContext()
    evaluation = summarize(
        predictions,
        beside.training,
        beside.point,
        beside.base,
        beside.prevalences,
        beside.baselines,
        beside.noise,
        ranks=beside.ranks,
    )
    tables = {
        "validation_results": [result_row(p) for p in predictions],
        "performance_metrics": [performance_row(evaluation, beside.groups)],
        "bias_metrics": [bias_row(evaluation.strategy, g) for g in evaluation.personas.values()],
        "test_samples": [sample_row(p) for p in predictions],
    }
    for name, rows in tables.items():
        write_atomic(folder / f"{name}_{stamp}.csv", csv_text(rows), posts=name in _WITH_POSTS)
    beside = _with_verdict(beside, evaluation, predictions)
    report = evaluation_report(evaluation, provenance, beside)
    text = visible(text_report(report), lines=True)  # read on terminals
    write_atomic(folder / f"evaluation_report_{stamp}.txt", text)
    write_report(folder, report)
    write_atomic(folder / PAGE, evaluation_page(report))
    return report


def _with_verdict(
    beside: ReportContext, evaluation: Evaluation, predictions: Sequence[Prediction]
) -> ReportContext:
    """Return the context with a verdict by the default rules, where only the base is there."""
    if beside.verdict or beside.base is None or evaluation.base is None:
        return beside
    compared = evaluation.base.comparison
    names = (compared.reference, compared.other)
    verdict = gate(GateRules(), predictions, beside.base[1], names, compared)
    return replace(beside, verdict=gate_report(verdict, default_rules=True))


def result_row(prediction: Prediction) -> Row:
    """Return a row of validation_results: one post, what was said of it, and how."""
    return {
        "strategy": prediction.strategy,
        "input_text": prediction.text,
        "true_label": prediction.true_label,
        "predicted_label": prediction.label,
        "response_time": prediction.response_time,
        "rationale": prediction.rationale,
        "target_group_norm": "|".join(prediction.groups),
        "persona_tag": prediction.persona_tag,
        "source_dataset": prediction.source_dataset,
        "status": "success" if prediction.outcome in READABLE else "error",
        "id": prediction.id,
        "outcome": prediction.outcome,
        "score": prediction.score,
        "label_multiclass": prediction.label_multiclass,
        "truncated_post": prediction.truncated_post,
        "reply": prediction.reply,
        "hate_share": prediction.hate_share,
    }


def performance_row(evaluation: Evaluation, groups: GroupSet) -> Row:
    """Return the row of performance_metrics: headline, groups, then intervals and policies."""
    headline = evaluation.headline
    row: Row = {
        "strategy": evaluation.strategy,
        "accuracy": headline.accuracy,
        "precision": headline.precision,
        "recall": headline.recall,
        "f1_score": headline.f1,
        **_cells(headline.counts),
    }
    # Groups that do not occur keep their columns, so that every file has the same ones.
    for name in dict.fromkeys((*groups.names, OTHER, *evaluation.groups)):
        group = evaluation.groups.get(name)
        row[f"{name}_fpr"] = group.rate("false_positive_rate") if group else None
        row[f"{name}_fnr"] = group.rate("false_negative_rate") if group else None
        row[f"{name}_samples"] = group.counts.n if group else 0
    row |= {"samples": headline.counts.n}
    row |= {name: getattr(headline, name) for name in ("macro_f1", "auroc", "auprc")}
    for name in METRIC_NAMES:
        row |= _ends(name, evaluation.intervals[name])
    for policy in POLICIES[1:]:
        metrics = evaluation.policies[policy]
        row[f"{policy}_samples"] = metrics.counts.n
        row |= {f"{policy}_{name}": getattr(metrics, name) for name in METRIC_NAMES[:5]}
    row |= {f"replies_{name}": k for name, k in evaluation.outcomes.counts.items()}
    views = {"": evaluation.gaps.raw, "source_standardised_": evaluation.gaps.standardised}
    for prefix, view in views.items():
        for name in GAPS:
            gap = view.gaps.get(name)
            row[f"{prefix}{name}_difference"] = gap.value if gap else None
            row |= _ends(f"{prefix}{name}_difference", gap.interval if gap else None)
    return row


def bias_row(strategy: str, persona: Group) -> Row:
    """Return the row of bias_metrics for one persona tag."""
    counts = persona.counts
    return {
        "strategy": strategy,
        "persona_tag": persona.name,
        "sample_count": counts.n,
        **{rate: persona.rate(rate) for rate in RATES},
        **_cells(counts),
        **{k: v for rate in RATES for k, v in _ends(rate, persona.share(rate).interval).items()},
        "unreadable": persona.outcomes.unreadable,
    }


def sample_row(prediction: Prediction) -> Row:
    """Return a row of test_samples: the post as it was evaluated, under the unified keys."""
    return {
        "text": prediction.text,
        "label_binary": prediction.true_label,
        "label_multiclass": prediction.label_multiclass,
        "target_group_norm": "|".join(prediction.groups),
        "persona_tag": prediction.persona_tag,
        "source_dataset": prediction.source_dataset,
        "original_id": prediction.id,
        "hate_share": prediction.hate_share,
    }


def csv_text(rows: Iterable[Row]) -> str:
    """Return rows as CSV with a header; all rows have the first one's columns."""
    table = list(rows)
    return "".join(csv_line(row) for row in (table[0], *(row.values() for row in table)))


def csv_line(cells: Iterable[Any]) -> str:
    """Return cells as a line of CSV that no spreadsheet runs."""
    out = io.StringIO()
    # Python quotes the characters of its line end. With "\n" alone a bare "\r" stays unquoted, and
    # readers begin a row there, whose first cell no guard has seen.
    csv.writer(out, lineterminator="\r\n").writerow([guarded(cell) for cell in cells])
    return out.getvalue().removesuffix("\r\n") + "\n"


def guarded(value: Any) -> Any:
    """Return a cell; text that a spreadsheet would run as a formula starts with a quote.

    Also where a spreadsheet of another locale would part the cell. Posts are written by attackers.
    Numbers are left as they are, in text too.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    inside = _INSIDE.sub(r"\1'", value)
    return f"'{inside}" if inside.startswith(FORMULA_STARTS) else inside


def _cells(counts: ConfusionMatrix) -> Row:
    return {
        "true_positive": counts.tp,
        "true_negative": counts.tn,
        "false_positive": counts.fp,
        "false_negative": counts.fn,
    }


def _ends(name: str, interval: Interval | None) -> Row:
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
