"""How numbers and rates read in every report: the same words and digits everywhere."""

from collections.abc import Mapping
from typing import Any

from hsd.metrics.bias import Kind
from hsd.metrics.classification import Policy
from hsd.metrics.drawn_rates import GapName
from hsd.metrics.groups import Rate
from hsd.metrics.intervals import Interval
from hsd.report.report_scores import ApartReport, ShareCalibrationReport
from hsd.report.report_values import GapsReport, WorstGroupReport

UNKNOWN = "-"
RATE_WORDS: dict[Rate, str] = {"false_positive_rate": "FPR", "false_negative_rate": "FNR"}
RATE_LEGEND = (
    "FPR = false-positive rate of normal posts; FNR = false-negative rate of hateful posts."
)
DIFFERENCE_WORDS: dict[Rate, str] = {
    "false_positive_rate": "false-positive-rate difference",
    "false_negative_rate": "false-negative-rate difference",
}
METRIC_WORDS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
}
GAP_WORDS: dict[GapName, str] = {
    "false_positive_rate": "false-positive-rate difference",
    "equal_opportunity": "equal-opportunity difference",
    "equalised_odds": "equalised-odds difference",
}
KIND_WORDS: dict[Kind, str] = {"subgroup": "subgroup", "bpsn": "BPSN", "bnsp": "BNSP"}
POLICY_WORDS: dict[Policy, str] = {
    "error": "wrong (headline)",
    "drop": "left out",
    "majority": "majority class",
}
REDACTED = "(redacted)"
CONTENT_WARNING = (
    "Content warning: this copy quotes posts, many of them hateful. It is for those who work on "
    "the model; share the one without --with-text."
)
UNREADABLE_IS_WRONG = "An unreadable reply counts as wrong for its post."


def fixed(value: float, digits: int, sign: str = "") -> str:
    """Return a number with so many decimals, the same ones on every machine; no -0.000.

    Sums differ in their last bit between CPUs, and .1445 may come out just below or just above:
    so the number is brought to nine decimals first, far below what is shown.
    """
    return f"{round(value, 9):{sign}z.{digits}f}"


def number(value: float | None) -> str:
    """Return three digits, `-` for a value that does not exist."""
    return UNKNOWN if value is None else fixed(value, 3)


def on_one_line(values: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Return nested values as (`model.name`, text); a value stays on one line whatever it holds."""
    found: list[tuple[str, str]] = []
    for key, item in values.items():
        if isinstance(item, Mapping):
            found += on_one_line(item, f"{path}{key}.")
        else:
            found.append((f"{path}{key}", " ".join(str(item).split())))
    return found


def spelled_out(name: str) -> str:
    """Return `false-positive rate` for `false_positive_rate`."""
    return name.replace("false_", "false-").replace("_", " ")


def seen_words(seen: int | None, n: int) -> str:
    """Return how many of `n` evaluated posts the model was trained on."""
    return "unknown" if seen is None else f"{seen:,} of {n:,}"


def signed(value: float | None) -> str:
    """Return a difference with its sign; no difference is `0.000`."""
    if value is None:
        return UNKNOWN
    text = fixed(value, 3, "+")
    return "0.000" if text in ("+0.000", "-0.000") else text


def between(interval: Interval | None) -> str:
    """Return `[0.600, 0.700]`."""
    return UNKNOWN if interval is None else f"[{number(interval.low)}, {number(interval.high)}]"


def change_between(interval: Interval | None) -> str:
    """Return `[-0.010, +0.200]`, the interval of a difference."""
    return UNKNOWN if interval is None else f"[{signed(interval.low)}, {signed(interval.high)}]"


def p_value(value: float | None) -> str:
    """Return two significant digits, `< 0.0001` below that."""
    if value is None:
        return UNKNOWN
    value = round(value, 9)  # see `fixed`
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def score_targets(found: ShareCalibrationReport) -> dict[str, ApartReport]:
    """Return what scores are held against, in words, and how far they lie from it."""
    return {"share of annotators": found.against_share, "label": found.against_label}


def share_words(found: ShareCalibrationReport) -> str:
    """Return which posts have a share of votes, and what no score could better."""
    return (
        f"Of the {found.n:,} posts with a share of votes; on {found.disputed:,} of them the "
        f"annotators disagree. No score has a log-loss below {number(found.least_log_loss)} "
        "against the shares."
    )


def percent(value: float | None) -> str:
    """Return `12.5 %`."""
    return UNKNOWN if value is None else f"{fixed(100 * value, 1)} %"


def worst_words(worst: WorstGroupReport) -> str:
    """Return which group has the lowest F1, with its own interval."""
    return f"Worst group by F1: {worst.group}, {number(worst.f1)} {between(worst.interval)}."


def held_equal(gaps: GapsReport) -> str:
    """Return what the view with equal sources rests on."""
    found = gaps.standardised.coverage
    if not any(found.values()):
        return "Sources cannot be held equal: all groups have enough posts of none of them."
    shares = ", ".join(f"{percent(found[rate])} for {RATE_WORDS[rate]}" for rate in found)
    return f"Sources are held equal over those that all groups have: of the posts {shares}."


def mix_words(gaps: GapsReport) -> str:
    """Return the warning that a difference between groups is one between their sources."""
    names = ", ".join(GAP_WORDS[name] for name in gaps.disagreeing)
    return (
        f"the mix of sources makes or hides a difference between groups ({names}); the raw one is "
        "not the groups' alone."
    )
