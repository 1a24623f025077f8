"""The part of report.html that says who errs for whom: rates, gaps and AUCs by group."""

from collections.abc import Mapping
from typing import Any

from hsd.metrics.gaps import GAPS
from hsd.metrics.groups import MINIMUM_N, RATES, SHARES
from hsd.report import figures
from hsd.report.page import (
    Figure,
    Part,
    Section,
    Table,
    Words,
    count,
    estimate,
    text,
    value,
)
from hsd.report.wording import (
    GAP_WORDS,
    KIND_WORDS,
    RATE_LEGEND,
    spelled,
)

Numbers = Mapping[str, Any]


def groups_section(numbers: Numbers) -> Section:
    """Return rates, differences and AUCs by group, and the baselines' rates."""
    groups = numbers["groups"]
    header = ["group", "hate", "normal", *map(spelled, SHARES)]
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
    parts: list[Part] = [Table("Rates by group", header, rows, note)]
    if any(name != "none" for name in groups):
        parts.append(Figure(figures.group_rates(groups), "Error rates with 95 % Wilson intervals."))
    parts += [_gap_table(numbers["gaps"]), *_gap_words(numbers["gaps"])]
    if numbers["auc_by_group"]:
        parts.append(_auc_table(numbers["auc_by_group"]))
    beside = [
        [text(b["name"]), text(name), *(value(g[rate]["value"]) for rate in RATES)]
        for b in numbers["baselines"]
        for name, g in b["groups"].items()
    ]
    parts.append(Table("Baselines by group", ["baseline", "group", *map(spelled, RATES)], beside))
    return Section("Groups", parts)


def _gap_table(gaps: Numbers) -> Table:
    rows = []
    for view, words in (("raw", "as they are"), ("standardised", "sources held equal")):
        for name in GAPS:
            gap = gaps[view]["gaps"].get(name)
            cells = (
                [
                    estimate(gap["value"], gap["interval"]),
                    text(gap["highest"]),
                    text(gap["lowest"]),
                ]
                if gap
                else [estimate(None, None), text("-"), text("-")]
            )
            rows.append([text(f"{GAP_WORDS[name]}, {words}"), *cells])
    note = "A largest difference is never below 0; with few posts it is large by chance."
    header = ["largest difference", "value", "highest error", "lowest error"]
    return Table("How far apart groups lie", header, rows, note)


def _gap_words(gaps: Numbers) -> list[Part]:
    parts: list[Part] = []
    if worst := gaps["worst"]:
        parts.append(Words(f"Worst group by F1: {worst['group']}, {worst['f1']:.3f}."))
    if gaps["disagreeing"]:
        names = ", ".join(GAP_WORDS[name] for name in gaps["disagreeing"])
        parts.append(
            Words(
                f"The mix of sources makes or hides part of this: {names} changes by more than .05 "
                "when every group is given the same sources.",
                "warning",
            )
        )
    return parts


def _auc_table(found: Numbers) -> Table:
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
    return Table("AUC by group", header, rows, note)
