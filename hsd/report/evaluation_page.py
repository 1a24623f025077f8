"""report.html: the numbers of report.json for people, in the order they should be read."""

from collections.abc import Mapping, Sequence
from typing import Any

from hsd.metrics.classification import METRIC_NAMES, POLICIES
from hsd.metrics.gaps import GAPS
from hsd.metrics.groups import MINIMUM_N, RATES, SHARES
from hsd.metrics.prediction import OUTCOMES, Prediction
from hsd.metrics.thresholds import ALL
from hsd.report import figures
from hsd.report.base_section import base_parts, turned_section
from hsd.report.gate_words import badge, gate_section
from hsd.report.page import (
    Cell,
    Figure,
    Lines,
    Page,
    Part,
    Section,
    Table,
    Words,
    count,
    estimate,
    estimated_change,
    render,
    text,
    value,
)
from hsd.report.wording import (
    CONTENT_WARNING,
    GAP_WORDS,
    KIND_WORDS,
    METRIC_WORDS,
    POLICY_WORDS,
    RATE_LEGEND,
    REDACTED,
    UNREADABLE_IS_WRONG,
    flat,
    percent,
    seen_words,
)

Numbers = Mapping[str, Any]


def evaluation_page(
    numbers: Numbers, predictions: Sequence[Prediction] = (), *, with_text: bool = False
) -> str:
    """Return report.html; posts are quoted only `with_text`."""
    texts = {p.id: p.text for p in predictions} if with_text else {}
    sections = [
        gate_section(numbers["gate"]),
        _provenance(numbers),
        _replies(numbers),
        _headline(numbers),
        _groups(numbers),
        _calibration(numbers),
        _thresholds(numbers),
        _slices(numbers),
        _tests(numbers),
        _errors(numbers, texts),
        turned_section(numbers, texts),
        Section("Not measured", [Lines(numbers["not_measured"])]),
    ]
    n, headline = numbers["headline"]["n"], numbers["headline"]
    subtitle = (
        f"{n:,} posts, {headline['tp'] + headline['fn']:,} of them hateful. Strategy "
        f"{numbers['strategy']}. Intervals are 95 %. {UNREADABLE_IS_WRONG}"
    )
    title = f"Evaluation of {_name(numbers['provenance'])}"
    return render(Page(title, [s for s in sections if s.parts], subtitle, badge(numbers["gate"])))


def _name(provenance: Numbers) -> str:
    model = provenance.get("model") or {}
    return str(model.get("adapter") or model.get("name") or model.get("base") or "a model")


def _provenance(numbers: Numbers) -> Section:
    rows = [[text(name), text(said, "words")] for name, said in flat(numbers["provenance"])]
    seen, n = numbers["seen_in_training"], numbers["headline"]["n"]
    rows.append([text("posts trained on"), text(seen_words(seen, n), "words")])
    parts: list[Part] = [Table("What was evaluated", ["what", "value"], rows)]
    if seen:
        said = (
            f"{seen:,} of these {n:,} posts are among those that the model was trained on. They "
            "are not held out: what is measured here is better than new posts would give."
        )
        parts.insert(0, Words(said, "warning"))
    return Section("Provenance", parts)


def _replies(numbers: Numbers) -> Section:
    groups = {"all posts": {"n": numbers["headline"]["n"], "outcomes": numbers["outcomes"]}}
    rows = [
        [text(name), count(g["n"]), *(_rate_of(g["outcomes"][o], g["n"]) for o in OUTCOMES)]
        for name, g in {**groups, **numbers["groups"]}.items()
    ]
    parts: list[Part] = [Table("Replies", ["posts", "n", *OUTCOMES], rows)]
    chance = numbers["unreadable_by_group_p"]
    if chance is not None and chance < 0.05:
        said = f"Unreadable replies go with the group (chi-squared p {chance:.2g})."
        parts.append(Words(said, "warning"))
    header = ["unreadable is", "posts", *(METRIC_WORDS[name] for name in METRIC_NAMES)]
    policies = [
        [
            text(POLICY_WORDS[policy]),
            count(numbers["policies"][policy]["n"]),
            *(value(numbers["policies"][policy][name]) for name in METRIC_NAMES),
        ]
        for policy in POLICIES
    ]
    parts.append(Table("Unreadable replies read in three ways", header, policies))
    return Section("Replies", parts)


def _rate_of(hits: int, n: int) -> Cell:
    return Cell(percent(hits / n if n else None), hits / n if n else None)


def _headline(numbers: Numbers) -> Section:
    base = numbers["base"]
    columns = {"this model": (numbers["headline"], numbers["intervals"])}
    if base:
        columns["the base"] = (base["metrics"], base["intervals"])
    columns |= {b["name"]: (b["metrics"], b["intervals"]) for b in numbers["baselines"]}
    rows = [
        [text(METRIC_WORDS[name]), *(estimate(m[name], i[name]) for m, i in columns.values())]
        for name in METRIC_NAMES
    ]
    parts: list[Part] = [Table("Headline", ["metric", *columns], rows)]
    if base:
        parts += base_parts(numbers)
    counts = numbers["headline"]
    confusion = [
        [text("truly hate"), count(counts["tp"]), count(counts["fn"])],
        [text("truly normal"), count(counts["fp"]), count(counts["tn"])],
    ]
    parts.append(Table("Confusion matrix", ["", "called hate", "called normal"], confusion))
    return Section("Headline, beside what is easily had", parts)


def _groups(numbers: Numbers) -> Section:
    groups = numbers["groups"]
    header = ["group", "hate", "normal", *map(_words, SHARES)]
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
    parts.append(Table("Baselines by group", ["baseline", "group", *map(_words, RATES)], beside))
    return Section("Groups", parts)


def _words(name: str) -> str:
    return name.replace("false_", "false-").replace("_", " ")


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


def _calibration(numbers: Numbers) -> Section:
    overall, groups = numbers["calibration"], numbers["calibration_by_group"]
    if not overall:
        return Section("Calibration", [])
    named = {"all posts": overall, **groups}
    operated = numbers["operating_point"]
    if operated and operated["calibration"]:
        scaled = f"all posts, at temperature {operated['point']['temperature']:.2f}"
        named[scaled] = operated["calibration"]
    rows = [
        [
            text(name),
            count(c["n"]),
            estimate(c["ece"], c["ece_interval"]),
            estimate(c["brier"], c["brier_interval"]),
        ]
        for name, c in named.items()
    ]
    table = Table("Calibration", ["posts", "n", "ECE", "Brier"], rows)
    drawing = figures.reliability(overall, groups)
    return Section(
        "Calibration", [table, Figure(drawing, "On the line a score means what it says.")]
    )


def _thresholds(numbers: Numbers) -> Section:
    if not numbers["curves"] or not numbers["curves"][ALL]["roc"]:
        return Section("Thresholds", [])
    operated = numbers["operating_point"]
    point = operated["point"] if operated else None
    parts: list[Part] = [
        Figure(figures.roc_and_pr(numbers["curves"]), "ROC and precision-recall curves."),
        Figure(
            figures.threshold_rates(numbers["curves"], point and point["threshold"]),
            "Error rates over the threshold. Dotted: .5. Solid: the frozen threshold, if any.",
        ),
    ]
    if operated:
        parts += _operated(numbers, operated)
    loads = [("likelier label", row) for row in numbers["at_prevalence"]]
    loads += [("frozen threshold", row) for row in (operated["prevalences"] if operated else [])]
    rows = [
        [
            text(f"{how}, {percent(r['prevalence'])} hate"),
            estimate(r["precision"], r["interval"]),
            Cell(f"{r['flagged']:.1f}", r["flagged"]),
            Cell(f"{r['missed']:.1f}", r["missed"]),
        ]
        for how, r in loads
    ]
    header = ["decision", "precision", "flagged in 1,000", "hate missed in 1,000"]
    note = (
        "Tests hold about half hate; platforms a few per cent. Same error rates, other prevalence."
    )
    parts.append(Table("What it would mean on a platform", header, rows, note))
    return Section("Thresholds", parts)


def _operated(numbers: Numbers, operated: Numbers) -> list[Part]:
    point = operated["point"]
    words = (
        f"Frozen threshold {point['threshold']:.4f} by the rule {point['rule']}, chosen on "
        f"{point['rows']:,} rows of {point['chosen_on']}; never on the posts judged here."
    )
    rows = [
        [
            text(METRIC_WORDS[name]),
            estimate(numbers["headline"][name], numbers["intervals"][name]),
            estimate(operated["metrics"][name], operated["intervals"][name]),
        ]
        for name in METRIC_NAMES
    ]
    header = ["metric", "likelier label", "frozen threshold"]
    groups = [
        [text(name), *(estimate(g[rate]["value"], g[rate]["interval"]) for rate in RATES)]
        for name, g in operated["groups"].items()
    ]  # fmt: skip
    by_group = ["group", *map(_words, RATES)]
    return [
        Words(words),
        Table("At the frozen threshold", header, rows),
        Table("By group at the frozen threshold", by_group, groups),
    ]


def _slices(numbers: Numbers) -> Section:
    rows = [
        [text(f"{s['kind']}: {s['name']}"), count(s["metrics"]["n"]),
         estimate(s["metrics"]["accuracy"], s["accuracy_interval"]), value(s["metrics"]["f1"]),
         value(s["metrics"]["auroc"]), *(value(s[rate]["value"]) for rate in RATES)]
        for s in numbers["slices"]
    ]  # fmt: skip
    header = ["slice", "posts", "accuracy", "F1", "AUROC", *map(_words, RATES)]
    return Section("Slices", [Table("Parts of the posts", header, rows)] if rows else [])


def _tests(numbers: Numbers) -> Section:
    parts: list[Part] = []
    if cases := numbers["functionalities"]:
        targets = list(dict.fromkeys(name for case in cases for name in case["right"]))
        shares = [[case["right"].get(t, {}).get("value") for t in targets] for case in cases]
        names = [case["name"] for case in cases]
        parts.append(
            Figure(
                figures.heat_map(names, targets, shares), "Accuracy by functionality and target."
            )
        )
        rows = [
            [text(case["name"]), text(case["label"]), count(case["right"]["all"]["of"]),
             *map(value, row)]
            for case, row in zip(cases, shares, strict=True)
        ]  # fmt: skip
        header = ["functionality", "label", "cases", *targets]
        parts.append(Table("Accuracy by functionality", header, rows))
    if pairs := numbers["contrasts"]:
        rows = [
            [
                text(c["functionality"]),
                count(c["n"]),
                estimate(c["consistency"]["value"], c["consistency"]["interval"]),
                count(c["only_reference"]),
                count(c["only_contrast"]),
            ]
            for c in pairs
        ]
        header = ["contrast", "pairs", "both right", "only the reference", "only this one"]
        parts.append(Table("Contrast pairs: labels differ, words hardly", header, rows))
    if found := numbers["swaps"]:
        rows = [
            [text(f"{s['before']} to {s['after']}"), count(s["flips"]["of"]),
             estimate(s["flips"]["value"], s["flips"]["interval"]), count(s["to_hate"]),
             estimated_change(s["mean_shift"], s["shift_interval"])]
            for s in found
        ]  # fmt: skip
        header = ["swap", "posts", "flip rate", "flips to hate", "mean shift"]
        note = f"Term list version {numbers['swap_terms_version']}. The label is the same post's."
        parts.append(Table("The group swapped for another", header, rows, note))
    return Section("Functional tests", parts)


def _errors(numbers: Numbers, texts: Mapping[str, str]) -> Section:
    rows = [
        [text(group), text(post["id"]), text(post["true_label"]), text(post["label"]),
         value(post["score"]), text(post["source_dataset"]),
         text(texts.get(post["id"], REDACTED), "words")]
        for group, posts in numbers["confident_errors"].items()
        for post in posts
    ]  # fmt: skip
    if not rows:
        return Section("Confident errors", [])
    header = ["group", "id", "label", "called", "P(hate)", "source", "post"]
    parts: list[Part] = [Table("The surest errors of each group", header, rows)]
    return Section(
        "Confident errors", [Words(CONTENT_WARNING, "danger"), *parts] if texts else parts
    )
