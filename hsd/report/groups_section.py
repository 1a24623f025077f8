"""The part of report.html that says who errs for whom: rates, gaps and AUCs by group."""

from hsd.example import NONE
from hsd.metrics.classification import POLICIES
from hsd.metrics.drawn_rates import GAPS
from hsd.metrics.groups import MINIMUM_N, RATES, SHARES
from hsd.report import figures
from hsd.report.formatting import (
    GAP_WORDS,
    KIND_WORDS,
    POLICY_WORDS,
    RATE_LEGEND,
    Numbers,
    held_equal,
    mix_words,
    spelled_out,
    worst_words,
)
from hsd.report.page import (
    Figure,
    PageTable,
    Part,
    Section,
    Words,
    count,
    estimate,
    p,
    text,
    value,
)


def groups_section(numbers: Numbers) -> Section:
    """Return rates, differences and AUCs by group, and the baselines' rates."""
    groups = numbers["groups"]
    header = ["group", "hate", "normal", *map(spelled_out, SHARES)]
    rows = [
        [
            text(name),
            count(g["hates"]),
            count(g["normals"]),
            *(estimate(g[n]["value"], g[n]["interval"]) for n in SHARES),
        ]
        for name, g in groups.items()
    ]
    note = (
        f"{RATE_LEGEND} A post about several groups counts in each. Fewer than {MINIMUM_N} posts: "
        "not estimable (-)."
    )
    parts: list[Part] = [PageTable("Rates by group", header, rows, note)]
    if any(name != NONE for name in groups):
        parts.append(Figure(figures.group_rates(groups), "Error rates with 95 % Wilson intervals."))
    parts += [
        *_policy_table(numbers),
        _gap_table(numbers["gaps"]),
        *_gap_words(numbers["gaps"]),
        *_persona_table(numbers["personas"]),
    ]
    if numbers["auc_by_group"]:
        parts.append(_auc_table(numbers["auc_by_group"]))
    beside = [
        [text(b["name"]), text(name), *(value(g[rate]["value"]) for rate in RATES)]
        for b in numbers["baselines"]
        for name, g in b["groups"].items()
    ]
    parts.append(
        PageTable("Baselines by group", ["baseline", "group", *map(spelled_out, RATES)], beside)
    )
    return Section("Groups", parts)


def _gap_table(gaps: Numbers) -> PageTable:
    rows = []
    for view, words in (("raw", "as they are"), ("standardised", "sources held equal")):
        for name in GAPS:
            gap = gaps[view]["gaps"].get(name)
            cells = [estimate(None, None), *[text("-", "absent")] * 3]
            if gap:
                cells = [estimate(gap["value"], gap["interval"]), p(gap["p_value"]),
                         text(gap["highest"]), text(gap["lowest"])]  # fmt: skip
            rows.append([text(f"{GAP_WORDS[name]}, {words}"), *cells])
    note = (
        "A largest difference is never below 0, and large by chance with few posts. Chance: how "
        f"often one as large would come up among groups with one rate. {held_equal(gaps)}"
    )
    header = ["largest difference", "value", "chance", "highest error", "lowest error"]
    return PageTable("How far apart groups lie", header, rows, note)


def _policy_table(numbers: Numbers) -> list[Part]:
    """Return error rates under each policy; nothing where every reply was read."""
    if not numbers["unreadable_rate"]:
        return []
    found = numbers["policies_by_group"]
    rows = [
        [text(name), *(value(found[policy][name][rate]["value"]) for rate in RATES
                       for policy in POLICIES)]
        for name in numbers["groups"]
    ]  # fmt: skip
    header = ["group", *(f"{spelled_out(rate)}, unread {POLICY_WORDS[policy]}" for rate in RATES
                         for policy in POLICIES)]  # fmt: skip
    return [PageTable("Error rates by group, unreadable replies read in three ways", header, rows)]


def _persona_table(personas: Numbers) -> list[Part]:
    """Return error rates by persona, which are finer than groups; nothing where all have one."""
    if len(personas) < 2:
        return []
    rows = [
        [text(name), count(g["hates"]), count(g["normals"]),
         *(estimate(g[rate]["value"], g[rate]["interval"]) for rate in RATES)]
        for name, g in personas.items()
    ]  # fmt: skip
    return [
        PageTable("Rates by persona", ["persona", "hate", "normal", *map(spelled_out, RATES)], rows)
    ]


def _gap_words(gaps: Numbers) -> list[Part]:
    parts: list[Part] = []
    if worst := gaps["worst"]:
        parts.append(Words(worst_words(worst)))
    if gaps["disagreeing"]:
        parts.append(Words(mix_words(gaps), "warning"))
    return parts


def _auc_table(found: Numbers) -> PageTable:
    rows = [
        [
            text(name),
            *(estimate(a[k]["value"], a[k]["interval"]) for k in KIND_WORDS),
        ]
        for name, a in [*found["groups"].items(), ("generalised mean (p = -5)", found["means"])]
    ]
    note = (
        "Subgroup: within the group. BPSN: its normal posts against the others' hateful ones. "
        "BNSP: its hateful posts against the others' normal ones (Borkan et al., 2019)."
    )
    header = ["group", *(f"{kind} AUC" for kind in KIND_WORDS.values())]
    return PageTable("AUC by group", header, rows, note)
