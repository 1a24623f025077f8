"""The plain-text report of one evaluation, from the numbers of report.json. It quotes no post."""

from collections.abc import Iterator, Mapping

from hsd.metrics.classification import METRIC_NAMES, POLICIES
from hsd.metrics.drawn_rates import GAPS
from hsd.metrics.groups import MINIMUM_N, RATES, Share
from hsd.prediction import OUTCOMES
from hsd.report.comparability import is_imported
from hsd.report.formatting import (
    GAP_WORDS,
    METRIC_WORDS,
    POLICY_WORDS,
    RATE_LEGEND,
    RATE_WORDS,
    UNREADABLE_IS_WRONG,
    between,
    change_between,
    held_equal,
    mix_words,
    number,
    on_one_line,
    p_value,
    percent,
    seen_words,
    signed,
    worst_words,
)
from hsd.report.gate_section import badge
from hsd.report.report_changes import BaseReport, ChangeReport
from hsd.report.report_model import EvaluationReport
from hsd.report.report_values import (
    GapReport,
    GroupReport,
    MetricsReport,
    OutcomesReport,
    ShareReport,
)
from hsd.report.text_columns import columns, titled
from hsd.report.text_scores import area_sections, calibration_sections


def text_report(report: EvaluationReport) -> str:
    """Return evaluation_report_*.txt."""
    title = "hsd evaluation report"
    sections = [
        f"{title}\n{'=' * len(title)}",
        columns(_facts(report)),
        titled("Verdict", _verdict(report)),
        titled(f"Headline (95 % intervals). {UNREADABLE_IS_WRONG}", columns(headline_rows(report))),
        titled("Beside it", _baselines(report)),
        titled("Confusion matrix (headline)", _confusion(report.headline)),
        titled("Unreadable replies read in other ways", _policies(report)),
        titled("Replies", _outcomes(report.outcomes)),
        titled("Error rates by group (95 % Wilson intervals)", _groups(report.groups)),
        titled("Precision and share called hate by group", _selection(report.groups)),
        *area_sections(report),
        titled("Largest differences between groups (95 %)", "\n".join(gap_lines(report))),
        *calibration_sections(report),
        *_base_sections(report),
        titled("Not measured", "\n".join(f"- {one}" for one in report.not_measured)),
        _notes(),
    ]
    return "\n\n".join(sections) + "\n"


def headline_rows(report: EvaluationReport) -> list[tuple[str, str, str]]:
    """Return metric, value and interval as text, for every report and table."""
    return [
        (METRIC_WORDS[name], number(report.headline.of(name)), between(report.intervals.of(name)))
        for name in METRIC_NAMES
    ]


def group_rows(groups: Mapping[str, GroupReport]) -> list[tuple[str, ...]]:
    """Return one row a group: name, both rates with interval and n, unreadable replies."""
    return [
        (
            name,
            *(text for rate in RATES for text in _share(group.share(rate))),
            str(group.outcomes.unreadable),
        )
        for name, group in groups.items()
    ]


GROUP_HEADER = ("group", "FPR", "95 %", "of", "FNR", "95 %", "of", "unread")


def gap_lines(report: EvaluationReport) -> list[str]:
    """Return one line a gap, raw and with sources held equal, the worst group, and the warning."""
    gaps = report.gaps
    lines = [_gap_line(GAP_WORDS[name], gaps.raw.gaps.get(name)) for name in GAPS]
    lines += [
        _gap_line(f"{GAP_WORDS[name]}, sources held equal", gap)
        for name, gap in gaps.standardised.gaps.items()
    ]
    lines.append(held_equal(gaps))
    if worst := gaps.worst:
        lines.append(worst_words(worst))
    if gaps.disagreeing:
        lines.append(f"WARNING: {mix_words(gaps)}")
    return lines


def _facts(report: EvaluationReport) -> Iterator[tuple[str, str]]:
    found = report.headline
    n, hates, normals = found.n, found.hates, found.normals
    if not is_imported(report.provenance):
        yield "strategy", report.strategy
    yield "posts", f"{n} ({hates} hate, {normals} normal)"
    yield "posts trained on", seen_words(report.seen_in_training, n)
    cut = report.truncated_posts
    yield "posts cut to fit", "unknown" if cut is None else str(cut)
    yield "seconds per post", number(report.mean_response_time_s)
    yield from on_one_line(report.provenance)


def _verdict(report: EvaluationReport) -> str:
    found = badge(report.gate, imported=is_imported(report.provenance))
    return "\n".join([found.status, found.sentence, *found.folded])


def _base_sections(report: EvaluationReport) -> list[str]:
    title = "Against the base, paired (95 %)"
    return [titled(title, _base(report.base))] if report.base else []


def _base(base: BaseReport) -> str:
    """Return which run the base is, and what changed from it for whom."""
    compared = base.comparison
    changes = {METRIC_WORDS[name]: compared.metrics[name] for name in METRIC_NAMES}
    changes |= {GAP_WORDS[name]: compared.gaps[name] for name in GAPS}
    changes |= {f"{r.group}: {RATE_WORDS[r.rate]} of {r.n}": r for r in compared.rates if r.n}
    rows = [(name, *_change(change)) for name, change in changes.items()]
    chance = p_value(compared.mcnemar_p)
    broken, fixed = len(compared.newly_broken), len(compared.newly_fixed)
    return "\n".join(
        [
            f"{base.name}: prompt {base.asked.settings.words()}",
            f"{broken} newly wrong, {fixed} newly right (exact McNemar p {chance})",
            columns([("", "base", "here", "change", "95 %"), *rows]),
        ]
    )


def _change(change: ChangeReport) -> tuple[str, str, str, str]:
    return (
        number(change.reference),
        number(change.other),
        signed(change.difference),
        change_between(change.interval),
    )


def _gap_line(words: str, gap: GapReport | None) -> str:
    if gap is None:
        return f"{words}: not estimable."
    where = f"{gap.highest}, {gap.lowest}"
    chance = "" if gap.p_value is None else f"; chance {p_value(gap.p_value)}"
    return f"{words}: {number(gap.value)} {between(gap.interval)} ({where}{chance})."


def _baselines(report: EvaluationReport) -> str:
    """Return the headline metrics that need no interval to differ, a row a baseline."""
    names = ("accuracy", "f1", "auroc")
    rows = [
        (baseline.name, *(number(baseline.metrics.of(name)) for name in names))
        for baseline in report.baselines
    ]
    return columns([("baseline", *(METRIC_WORDS[name] for name in names)), *rows])


def _selection(groups: Mapping[str, GroupReport]) -> str:
    shares: tuple[Share, ...] = ("precision", "selection_rate")
    rows = [
        (name, *(text for share in shares for text in _share(group.share(share))))
        for name, group in groups.items()
    ]
    return columns([("group", "precision", "95 %", "of", "called", "95 %", "of"), *rows])


def _confusion(counts: MetricsReport) -> str:
    return columns(
        [
            ("", "called hate", "called normal"),
            ("truly hate", str(counts.tp), str(counts.fn)),
            ("truly normal", str(counts.fp), str(counts.tn)),
        ]
    )


def _policies(report: EvaluationReport) -> str:
    names = METRIC_NAMES[:5]
    rows = []
    for policy in POLICIES:
        metrics = report.policies.of(policy)
        values = (number(metrics.of(name)) for name in names)
        rows.append((POLICY_WORDS[policy], str(metrics.n), *values))
    return columns([("unreadable is", "posts", *(METRIC_WORDS[name] for name in names)), *rows])


def _outcomes(found: OutcomesReport) -> str:
    shares = {outcome: found.of(outcome) / found.n if found.n else None for outcome in OUTCOMES}
    return columns((name, str(found.of(name)), percent(share)) for name, share in shares.items())


def _groups(groups: Mapping[str, GroupReport]) -> str:
    return columns([GROUP_HEADER, *group_rows(groups)])


def _share(share: ShareReport) -> tuple[str, str, str]:
    return number(share.value), between(share.interval), str(share.of)


def _notes() -> str:
    lines = [
        RATE_LEGEND,
        "Equal opportunity compares true-positive rates; equalised odds the larger of both gaps.",
        "A post about several groups counts in each; `none` are posts about no group.",
        f"A rate over fewer than {MINIMUM_N} posts is not estimable (-), and in no difference.",
    ]
    return "\n".join(lines)
