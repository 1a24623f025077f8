"""What hsd's numbers look like on a terminal."""

from rich.console import Group, RenderableType

from hsd.metrics.comparison import Comparison
from hsd.metrics.gate import Verdict
from hsd.metrics.leaderboard import Leaderboard
from hsd.prediction import OUTCOMES
from hsd.report.comparability import is_imported
from hsd.report.comparison_report import (
    METRIC_HEADER,
    RATE_HEADER,
    metric_rows,
    rate_rows,
    sentences,
)
from hsd.report.formatting import METRIC_WORDS, RATE_LEGEND, percent
from hsd.report.gate_section import gate_report, verdict_lines
from hsd.report.leaderboard_rows import ranking_header, ranking_rows
from hsd.report.report_model import EvaluationReport
from hsd.report.text_report import GROUP_HEADER, gap_lines, group_rows, headline_rows
from hsd.training.convergence import ConvergenceVerdict as Convergence
from jobs.terminal.console import escape
from jobs.terminal.plain_tables import number_table


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return what changed from the reference to the other run: headline, groups, sentences."""
    title = f"reference: {comparison.reference}\nother: {comparison.other}"
    first, *others = sentences(comparison)
    return Group(
        number_table(title, METRIC_HEADER, metric_rows(comparison)),
        number_table("", RATE_HEADER, rate_rows(comparison)),
        RATE_LEGEND,
        escape(first),
        *(f"[{_colour(sentence)}]{escape(sentence)}[/]" for sentence in others),
    )


def _colour(sentence: str) -> str:
    return "yellow" if sentence.startswith("May be") else "bold red"


def metrics_table(report: EvaluationReport) -> RenderableType:
    """Return one evaluation, from its report.json: headline, groups, replies, differences."""
    return Group(
        number_table(_title(report), ("metric", "value", "95 %"), headline_rows(report)),
        number_table("", GROUP_HEADER, group_rows(report.groups)),
        RATE_LEGEND,
        _outcomes(report),
        *map(escape, gap_lines(report)),
        *map(escape, _why_no_area(report)),
    )


def _why_no_area(report: EvaluationReport) -> list[str]:
    """Return why the table has no AUROC, in the report's own words."""
    if report.headline.auroc is not None:
        return []
    reasons = (one for one in report.not_measured if one.startswith(METRIC_WORDS["auroc"]))
    return [f"Not measured: {one}" for one in reasons]


def _title(report: EvaluationReport) -> str:
    """Return what was evaluated: a detector by its name, a model by the strategy of its prompt."""
    is_detector = is_imported(report.provenance)
    return str(report.provenance.get("detector")) if is_detector else report.strategy


def board_table(board: Leaderboard) -> RenderableType:
    """Return a ranking: each run's place, gate and worst group, then failures with reasons."""
    title = f"Ranked by {METRIC_WORDS[board.metric]}"
    return Group(
        number_table(title, ranking_header(board), ranking_rows(board)),
        *(escape(f"{entry.name}: {entry.failure}") for entry in board.failures),
    )


def gate_table(verdict: Verdict) -> RenderableType:
    """Return a gate's verdict and its rules, worst first."""
    colour = {"PASS": "green", "FAIL": "red", "UNDERPOWERED": "yellow"}[verdict.status.value]
    return Group(
        f"[bold {colour}]{verdict.status.value}[/]",
        *(escape(f"  {line}") for line in verdict_lines(gate_report(verdict))),
    )


def verdict_table(verdict: Convergence) -> RenderableType:
    """Return what became of a training run: the verdict and the numbers behind it."""
    head = f"[bold]{verdict.status}[/]: {escape(verdict.reason)}"
    lines = [early_stop_line(verdict)]
    if verdict.final_rate_share is not None:
        lines.append(f"Last learning rate: {percent(verdict.final_rate_share)} of the highest.")
    if verdict.judged is None:
        return Group(head, *filter(None, lines))
    return Group(
        head,
        number_table("", (verdict.judged, "step", "loss"), _loss_rows(verdict)),
        f"Above its best at the end: {percent(verdict.rise_since_best)}.",
        f"Fall over the last third: {percent(verdict.fall_last_third)} (below 0 it rose).",
        *filter(None, lines),
    )


def early_stop_line(verdict: Convergence) -> str:
    """Return whether early stopping would have fired; empty when no rule was given."""
    if verdict.patience is None:
        return ""
    rule = f"patience {verdict.patience.amount} {verdict.patience.unit}"
    if verdict.early_stop is None:
        return f"Early stopping ({rule}) would not have fired."
    return f"Early stopping ({rule}) would have fired at step {verdict.early_stop.step}."


def _loss_rows(verdict: Convergence) -> list[tuple[str, str, str]]:
    points = (("first", verdict.first), ("best", verdict.best), ("last", verdict.last))
    return [(name, str(p.step), f"{p.value:.4g}") for name, p in points if p]


def _outcomes(report: EvaluationReport) -> str:
    outcomes = report.outcomes
    what = "Predictions" if is_imported(report.provenance) else "Replies"
    counts = {outcome: outcomes.of(outcome) for outcome in OUTCOMES}
    parts = (f"{outcome} {percent(k / outcomes.n)}" for outcome, k in counts.items() if k)
    return f"{what}: {', '.join(parts)}."
