"""The plain-text report of one evaluation. It quotes no post."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hsd.metrics.classification import METRIC_NAMES, Counts, Metrics, Policy
from hsd.metrics.evaluation import Evaluation
from hsd.metrics.groups import MINIMUM_N, RATES, Difference, Group, Rate
from hsd.metrics.intervals import wilson
from hsd.metrics.prediction import OUTCOMES
from hsd.report.wording import (
    DIFFERENCE_WORDS,
    METRIC_WORDS,
    RATE_LEGEND,
    UNREADABLE_IS_WRONG,
    between,
    number,
    percent,
)

POLICY_WORDS: dict[Policy, str] = {
    "error": "wrong (headline)",
    "drop": "left out",
    "majority": "majority class",
}


def text_report(evaluation: Evaluation, provenance: Mapping[str, Any]) -> str:
    """Return evaluation_report_*.txt."""
    title = "hsd evaluation report"
    sections = [
        f"{title}\n{'=' * len(title)}",
        _columns(_facts(evaluation, provenance)),
        _section(f"Headline (95 % intervals). {UNREADABLE_IS_WRONG}", _headline(evaluation)),
        _section("Confusion matrix (headline)", _confusion(evaluation.headline.counts)),
        _section("Unreadable replies read in other ways", _policies(evaluation)),
        _section("Replies", _outcomes(evaluation)),
        _section("Error rates by group (95 % Wilson intervals)", _groups(evaluation.groups)),
        *_notes(evaluation),
    ]
    return "\n\n".join(sections) + "\n"


def headline_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Return metric, value and interval as text, for every report and table."""
    return [
        (
            METRIC_WORDS[name],
            number(getattr(evaluation.headline, name)),
            between(evaluation.intervals[name]),
        )
        for name in METRIC_NAMES
    ]


def group_rows(groups: Mapping[str, Group]) -> list[tuple[str, ...]]:
    """Return one row a group: name, both rates with interval and n, unreadable replies."""
    return [
        (
            group.name,
            *(text for rate in RATES for text in _rate(group, rate)),
            str(group.outcomes.unreadable),
        )
        for group in groups.values()
    ]


GROUP_HEADER = ("group", "FPR", "95 %", "of", "FNR", "95 %", "of", "unread")


def difference_line(difference: Difference) -> str:
    """Return one sentence about the largest difference of a rate between two groups."""
    high, low, rate = difference.highest, difference.lowest, difference.rate
    return (
        f"Largest {DIFFERENCE_WORDS[rate]}: {number(difference.value)} "
        f"({high.name} {number(high.rate(rate))} of {high.denominator(rate)}, "
        f"{low.name} {number(low.rate(rate))} of {low.denominator(rate)})."
    )


def _facts(evaluation: Evaluation, provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    counts = evaluation.headline.counts
    yield "strategy", evaluation.strategy
    yield "posts", f"{counts.n} ({counts.hates} hate, {counts.normals} normal)"
    yield "posts cut to fit", str(evaluation.truncated_posts)
    yield "seconds per post", number(evaluation.mean_response_time)
    yield from _flat(provenance)


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield `model.name`, `...`; a value stays on one line whatever it holds."""
    for key, item in value.items():
        name = f"{path}{key}"
        if isinstance(item, Mapping):
            yield from _flat(item, f"{name}.")
        else:
            yield name, " ".join(str(item).split())


def _headline(evaluation: Evaluation) -> str:
    always = evaluation.always_hate
    floor = f"For scale: always 'hate' scores accuracy {number(always.accuracy)}"
    return _columns(headline_rows(evaluation)) + f"\n{floor}, F1 {number(always.f1)}."


def _confusion(counts: Counts) -> str:
    return _columns(
        [
            ("", "called hate", "called normal"),
            ("truly hate", str(counts.tp), str(counts.fn)),
            ("truly normal", str(counts.fp), str(counts.tn)),
        ]
    )


def _policies(evaluation: Evaluation) -> str:
    header = ("unreadable is", "posts", *(METRIC_WORDS[name] for name in METRIC_NAMES[:5]))
    rows = [_policy(policy, metrics) for policy, metrics in evaluation.policies.items()]
    return _columns([header, *rows])


def _policy(policy: Policy, metrics: Metrics) -> tuple[str, ...]:
    values = (number(getattr(metrics, name)) for name in METRIC_NAMES[:5])
    return (POLICY_WORDS[policy], str(metrics.counts.n), *values)


def _outcomes(evaluation: Evaluation) -> str:
    found = evaluation.outcomes
    return _columns((o, str(found.counts[o]), percent(found.rate(o))) for o in OUTCOMES)


def _groups(groups: Mapping[str, Group]) -> str:
    return _columns([GROUP_HEADER, *group_rows(groups)])


def _rate(group: Group, rate: Rate) -> tuple[str, str, str]:
    n = group.denominator(rate)
    hits = group.counts.fp if rate == "false_positive_rate" else group.counts.fn
    return number(group.rate(rate)), between(wilson(hits, n)), str(n)


def _notes(evaluation: Evaluation) -> list[str]:
    lines = [
        *(difference_line(difference) for difference in evaluation.differences),
        RATE_LEGEND,
        "A post about several groups counts in each; `none` are posts about no group.",
        f"Differences are between groups with at least {MINIMUM_N} posts behind the rate.",
    ]
    return ["\n".join(lines)]


def _section(title: str, body: str) -> str:
    return f"{title}\n{'-' * len(title)}\n{body}"


def _columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned text; the first column left, the others right unless it is a pair."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(_line(row, widths) for row in table)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    if len(others) == 1:
        return f"{first:<{widths[0]}}  {others[0]}".rstrip()
    cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
    return "  ".join((f"{first:<{widths[0]}}", *cells)).rstrip()
