"""The part of report.html that says who errs for whom: rates, gaps and AUCs by group."""

from collections.abc import Mapping

from hsd.metrics.classification import POLICIES
from hsd.metrics.drawn_rates import GAPS
from hsd.metrics.groups import MINIMUM_N, RATES, SHARES
from hsd.report.formatting import (
    GAP_WORDS,
    KIND_WORDS,
    POLICY_WORDS,
    RATE_LEGEND,
    held_equal,
    mix_words,
    spelled_out,
    worst_words,
)
from hsd.report.page import (
    PageTable,
    Part,
    Section,
    Words,
    count,
    estimate,
    p,
    spread,
    text,
    value,
)
from hsd.report.report_model import EvaluationReport
from hsd.report.report_scores import GroupAreasReport
from hsd.report.report_values import GapsReport, GroupReport


def groups_section(report: EvaluationReport) -> Section:
    """Return rates, differences and AUCs by group, and the baselines' rates."""
    groups = report.groups
    header = ["group", "hate", "normal", *map(spelled_out, SHARES)]
    rows = {
        name: [
            text(_placed(report, name)),
            count(g.hates),
            count(g.normals),
            *(spread(g.share(n)) for n in SHARES),
        ]
        for name, g in groups.items()
    }
    small = [n for n, g in groups.items() if report.counted_in and not _is_estimable(g)]
    note = (
        f"{RATE_LEGEND} A post about several groups counts in each. Fewer than {MINIMUM_N} posts: "
        "not estimable (-)."
    )
    told = [row for name, row in rows.items() if name not in small]
    none = Words(f"No group has {MINIMUM_N} posts of a label, so no rate is estimable.", "warning")
    parts: list[Part] = [PageTable("Rates by group", header, told, note) if told else none]
    if small:
        few = f"Groups with fewer than {MINIMUM_N} posts of both labels ({len(small)})"
        parts.append(PageTable(few, header, [rows[name] for name in small], folded=True))
    parts += [
        *_policy_table(report),
        _gap_table(report),
        *_gap_words(report.gaps),
        *_persona_table(report.personas, folded=report.counted_in is not None),
    ]
    if report.auc_by_group:
        parts.append(_auc_table(report, report.auc_by_group))
    beside = [
        [text(b.name), text(report.title(name)), *(value(g.share(rate).value) for rate in RATES)]
        for b in report.baselines
        for name, g in b.groups.items()
    ]
    header = ["baseline", "group", *map(spelled_out, RATES)]
    parts.append(PageTable("Baselines by group", header, beside, folded=True))
    return Section("Groups", parts)


def _placed(report: EvaluationReport, name: str) -> str:
    """Return a group's title; a part of another group names that one."""
    parent = report.counted_in.parents.get(name) if report.counted_in else None
    title = report.title(name)
    return f"{title} (part of {report.title(parent)})" if parent else title


def _is_estimable(group: GroupReport) -> bool:
    return any(group.share(rate).value is not None for rate in RATES)


def _gap_table(report: EvaluationReport) -> PageTable:
    gaps, rows = report.gaps, []
    for view, words in ((gaps.raw, "as they are"), (gaps.standardised, "sources held equal")):
        for name in GAPS:
            gap = view.gaps.get(name)
            cells = [estimate(None, None), *[text("-", "absent")] * 3]
            if gap:
                ends = (text(report.title(end)) for end in (gap.highest, gap.lowest))
                cells = [estimate(gap.value, gap.interval), p(gap.p_value), *ends]
            rows.append([text(f"{GAP_WORDS[name]}, {words}"), *cells])
    note = (
        "A largest difference is never below 0, and large by chance with few posts. Chance: how "
        f"often one as large would come up among groups with one rate. {held_equal(gaps)}"
    )
    header = ["largest difference", "value", "chance", "highest error", "lowest error"]
    return PageTable("How far apart groups lie", header, rows, note)


def _policy_table(report: EvaluationReport) -> list[Part]:
    """Return error rates under each policy; nothing where every reply was read."""
    if not report.unreadable_rate:
        return []
    found = report.policies_by_group
    rows = [
        [text(name), *(value(found.of(policy)[name].of(rate).value) for rate in RATES
                       for policy in POLICIES)]
        for name in report.groups
    ]  # fmt: skip
    header = ["group", *(f"{spelled_out(rate)}, unread {POLICY_WORDS[policy]}" for rate in RATES
                         for policy in POLICIES)]  # fmt: skip
    return [PageTable("Error rates by group, unreadable replies read in three ways", header, rows)]


def _persona_table(personas: Mapping[str, GroupReport], *, folded: bool) -> list[Part]:
    """Return error rates by persona, which are finer than groups; nothing where all have one."""
    if len(personas) < 2:
        return []
    rows = [
        [text(name), count(g.hates), count(g.normals),
         *(spread(g.share(rate)) for rate in RATES)]
        for name, g in personas.items()
    ]  # fmt: skip
    return [
        PageTable(
            "Rates by persona",
            ["persona", "hate", "normal", *map(spelled_out, RATES)],
            rows,
            folded=folded,
        )
    ]


def _gap_words(gaps: GapsReport) -> list[Part]:
    parts: list[Part] = []
    if worst := gaps.worst:
        parts.append(Words(worst_words(worst)))
    if gaps.disagreeing:
        parts.append(Words(mix_words(gaps), "warning"))
    return parts


def _auc_table(report: EvaluationReport, found: GroupAreasReport) -> PageTable:
    rows = [
        [
            text(report.title(name)),
            *(estimate(a.of(k).value, a.of(k).interval) for k in KIND_WORDS),
        ]
        for name, a in [*found.groups.items(), ("generalised mean (p = -5)", found.means)]
    ]
    note = (
        "Subgroup: within the group. BPSN: its normal posts against the others' hateful ones. "
        "BNSP: its hateful posts against the others' normal ones (Borkan et al., 2019)."
    )
    header = ["group", *(f"{kind} AUC" for kind in KIND_WORDS.values())]
    return PageTable("AUC by group", header, rows, note)
