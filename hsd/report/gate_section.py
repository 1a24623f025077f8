"""A gate's verdict in words: one line a rule, worst first."""

from typing import Any, Literal

from hsd.metrics.gate import Verdict
from hsd.metrics.rule_result import Status
from hsd.report.formatting import between, number
from hsd.report.numbers import as_json_values
from hsd.report.page import Badge, Look, PageTable, Section, TableCell, count, estimate, text, value
from hsd.report.report_changes import GateReport, RuleReport

ORDER = ("FAIL", "UNDERPOWERED", "PASS")
NO_BASE = (
    "There is no base to compare with. `hsd report RUN --base BASE_RUN` compares this model with "
    "its base on the same posts and gives a verdict."
)
NO_REFERENCE = (
    "These predictions were imported, and are not compared with another run yet. `hsd gate RUN "
    "--reference OTHER_RUN` compares them on the same posts and gives a verdict."
)
DEFAULT_RULES = "Nobody asked the gate: these are its default rules, at the likelier label."
SHOWN_FAILURES = 3
"""Broken rules that are shown without a click."""
_BADGE_LOOKS: dict[Status, Literal["pass", "fail", "underpowered"]] = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.UNDERPOWERED: "underpowered",
}


def gate_numbers(verdict: Verdict) -> dict[str, Any]:
    """Return gate.json."""
    return {"schema": 2, "status": verdict.status.value, **as_json_values(verdict)}


def gate_report(verdict: Verdict, *, default_rules: bool = False) -> GateReport:
    """Return the verdict as report.json has it; nobody asked for one of the default rules."""
    return GateReport.model_validate({**gate_numbers(verdict), "default_rules": default_rules})


def verdict_lines(verdict: GateReport) -> list[str]:
    """Return a line for each rule that is not kept, how many are, and what no rule is about."""
    checks = _worst_first(verdict)
    kept = sum(check.status == "PASS" for check in checks)
    lines = [_line(check) for check in checks if check.status != "PASS"]
    lines.append(f"{kept} of {len(checks)} rules are kept.")
    if verdict.not_judged:
        lines.append(f"Not judged: {', '.join(verdict.not_judged)}.")
    return lines


def badge(verdict: GateReport | None, *, imported: bool = False) -> Badge:
    """Return the verdict box: one sentence, what fails, and all reasons behind a click.

    An imported run has no base to compare with.
    """
    if verdict is None:
        return Badge("NO VERDICT", [], NO_REFERENCE if imported else NO_BASE)
    against = f"Against {verdict.reference}." if verdict.reference else "Without a reference."
    if verdict.default_rules:
        rules = DEFAULT_RULES.replace("likelier", "imported") if imported else DEFAULT_RULES
        against += f" {rules}"
    failed = [_line(check) for check in _worst_first(verdict) if check.status == "FAIL"]
    return Badge(
        verdict.status.value,
        failed[:SHOWN_FAILURES],
        verdict_sentence(verdict),
        [f"{verdict.run}. {against}", *verdict_lines(verdict)],
        _BADGE_LOOKS[verdict.status],
    )


def verdict_sentence(verdict: GateReport) -> str:
    """Return what the verdict comes to."""
    counts = {status: sum(c.status == status for c in verdict.checks) for status in Status}
    rules = f"{len(verdict.checks)} {'default ' if verdict.default_rules else ''}rules"
    against = f" against {verdict.reference}" if verdict.reference else ""
    if verdict.status == Status.FAIL:
        return f"The model breaks {counts[Status.FAIL]} of {rules}{against}."
    if verdict.status == Status.UNDERPOWERED:
        why = next((check.why for check in verdict.checks if check.why), "there are too few posts")
        return (
            f"No rule is broken{against}, but {counts[Status.UNDERPOWERED]} of {rules} cannot be "
            f"decided: {why}."
        )
    return f"The model keeps all {rules}{against}."


def gate_section(verdict: GateReport | None) -> Section:
    """Return every rule of the gate as a table; empty without a verdict."""
    if verdict is None:
        return Section("Gate", [])
    looks: dict[str, Look] = {"FAIL": "bad", "UNDERPOWERED": "warn", "PASS": "good"}
    rows = [
        [
            text(f"{check.rule} ({check.about})"),
            text(check.status.value, looks[check.status.value]),
            estimate(check.value, check.interval),
            value(check.limit),
            count(check.n),
            _decided_by(check),
        ]
        for check in _worst_first(verdict)
    ]
    header = ["rule", "verdict", "found", "limit", "posts", "what would decide"]
    return Section("Gate", [PageTable("Every rule, worst first", header, rows)])


def _decided_by(check: RuleReport) -> TableCell:
    if check.why:
        return text(check.why, "words")
    return text(f"{check.needed:,} posts") if check.needed else text("-", "absent")


def _worst_first(verdict: GateReport) -> list[RuleReport]:
    return sorted(verdict.checks, key=lambda check: ORDER.index(check.status))


def _line(check: RuleReport) -> str:
    ends = f" {between(check.interval)}" if check.interval else ""
    found = "not estimable" if check.value is None else f"{number(check.value)}{ends}"
    more = f"; about {check.needed:,} posts would decide" if check.needed else ""
    more = f"; {check.why}" if check.why else more
    return (
        f"{check.status}: {check.rule} {found} ({check.about}, {check.n:,} posts; "
        f"limit {check.limit:g}{more})"
    )
