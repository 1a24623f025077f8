"""The plain-text report of one evaluation. It quotes no post."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hsd.metrics.bias import KINDS, Area, Bias
from hsd.metrics.classification import METRIC_NAMES, Counts, Metrics, Policy
from hsd.metrics.evaluation import Evaluation
from hsd.metrics.gaps import GAPS, Gap, Gaps
from hsd.metrics.groups import MINIMUM_N, RATES, Group, Share
from hsd.metrics.prediction import OUTCOMES
from hsd.report.wording import (
    GAP_WORDS,
    KIND_WORDS,
    METRIC_WORDS,
    POLICY_WORDS,
    RATE_LEGEND,
    UNREADABLE_IS_WRONG,
    between,
    number,
    percent,
    seen_words,
)


def text_report(evaluation: Evaluation, provenance: Mapping[str, Any]) -> str:
    """Return evaluation_report_*.txt."""
    title = "hsd evaluation report"
    sections = [
        f"{title}\n{'=' * len(title)}",
        _columns(_facts(evaluation, provenance)),
        _section(f"Headline (95 % intervals). {UNREADABLE_IS_WRONG}", _headline(evaluation)),
        _section("Beside it", _baselines(evaluation)),
        _section("Confusion matrix (headline)", _confusion(evaluation.headline.counts)),
        _section("Unreadable replies read in other ways", _policies(evaluation)),
        _section("Replies", _outcomes(evaluation)),
        _section("Error rates by group (95 % Wilson intervals)", _groups(evaluation.groups)),
        _section("Precision and share called hate by group", _selection(evaluation.groups)),
        *([_section("AUC by group (95 %)", _bias(evaluation.bias))] if evaluation.bias else []),
        _section(
            "Largest differences between groups (95 %)", "\n".join(gap_lines(evaluation.gaps))
        ),
        *_notes(),
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
            *(text for rate in RATES for text in _share(group, rate)),
            str(group.outcomes.unreadable),
        )
        for group in groups.values()
    ]


GROUP_HEADER = ("group", "FPR", "95 %", "of", "FNR", "95 %", "of", "unread")


def _facts(evaluation: Evaluation, provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    counts = evaluation.headline.counts
    yield "strategy", evaluation.strategy
    yield "posts", f"{counts.n} ({counts.hates} hate, {counts.normals} normal)"
    yield "posts trained on", seen_words(evaluation.seen_in_training, counts.n)
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


def baseline_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return one row a baseline: name, and the headline metrics that need no interval to differ."""
    return [
        (
            baseline.name,
            *(number(getattr(baseline.metrics, name)) for name in ("accuracy", "f1", "auroc")),
        )
        for baseline in evaluation.baselines
    ]


def gap_lines(gaps: Gaps) -> list[str]:
    """Return one line a gap, raw and with sources held equal, the worst group, and the warning."""
    lines = [_gap_line(GAP_WORDS[name], gaps.raw.gaps.get(name)) for name in GAPS]
    lines += [
        _gap_line(f"{GAP_WORDS[name]}, sources held equal", gap)
        for name, gap in gaps.standardised.gaps.items()
    ]
    if gaps.worst:
        interval = between(gaps.worst.interval)
        lines.append(f"Worst group: {gaps.worst.group}, F1 {number(gaps.worst.f1)} {interval}.")
    if gaps.disagreeing:
        names = ", ".join(GAP_WORDS[name] for name in gaps.disagreeing)
        lines.append(
            f"WARNING: the mix of sources makes or hides a difference between groups ({names}); "
            "the raw difference is not the groups' alone."
        )
    return lines


def _gaps(gaps: Gaps) -> str:
    return "\n".join(gap_lines(gaps))


def _gap_line(words: str, gap: Gap | None) -> str:
    if gap is None:
        return f"{words}: not estimable."
    return f"{words}: {number(gap.value)} {between(gap.interval)} ({gap.highest}, {gap.lowest})."


def _headline(evaluation: Evaluation) -> str:
    return _columns(headline_rows(evaluation))


def _baselines(evaluation: Evaluation) -> str:
    return _columns([("baseline", "accuracy", "F1", "AUROC"), *baseline_rows(evaluation)])


def _selection(groups: Mapping[str, Group]) -> str:
    shares: tuple[Share, ...] = ("precision", "selection_rate")
    rows = [(g.name, *(t for share in shares for t in _share(g, share))) for g in groups.values()]
    return _columns([("group", "precision", "95 %", "of", "called", "95 %", "of"), *rows])


def _bias(bias: Bias) -> str:
    header = ("group", *(text for kind in KINDS for text in (KIND_WORDS[kind], "95 %")))
    rows = [
        (name, *(text for kind in KINDS for text in _area(areas[kind])))
        for name, areas in [*bias.groups.items(), ("generalised mean", bias.means)]
    ]
    return _columns([header, *rows])


def _area(area: Area) -> tuple[str, str]:
    return number(area.value), between(area.interval)


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


def _share(group: Group, name: Share) -> tuple[str, str, str]:
    share = group.share(name)
    return number(share.value), between(share.interval), str(share.n)


def _notes() -> list[str]:
    lines = [
        RATE_LEGEND,
        "Equal opportunity compares true-positive rates; equalised odds the larger of both gaps.",
        "A post about several groups counts in each; `none` are posts about no group.",
        f"A rate over fewer than {MINIMUM_N} posts is not estimable (-), and in no difference.",
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
