"""report.html: the numbers of report.json for people, in the order they should be read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hsd.metrics.classification import METRIC_NAMES, POLICIES
from hsd.metrics.groups import RATES
from hsd.prediction import OUTCOMES, Prediction
from hsd.report import figures
from hsd.report.base_section import base_parts, turned_section
from hsd.report.formatting import (
    CONTENT_WARNING,
    METRIC_WORDS,
    POLICY_WORDS,
    REDACTED,
    UNREADABLE_IS_WRONG,
    Numbers,
    on_one_line,
    percent,
    seen_words,
    spelled_out,
)
from hsd.report.gate_section import badge, gate_section
from hsd.report.groups_section import groups_section
from hsd.report.page import (
    Figure,
    Lines,
    Page,
    PageTable,
    Part,
    Section,
    TableCell,
    Words,
    count,
    estimate,
    estimated_change,
    render_page,
    text,
    value,
)
from hsd.report.threshold_sections import calibration_section, thresholds_section

FIRST_FACTS = frozenset(
    ("model.name", "model.revision", "model.adapter", "model.quantization", "data.data_file",
     "data.rows", "prompt.template", "prompt.strategy", "prompt.hash", "prompt.note",
     "mode", "max_length", "temperature", "date", "code.commit", "training_rows")
)  # fmt: skip
"""What tells one evaluation from another; the rest is for who repeats it."""


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
        groups_section(numbers),
        calibration_section(numbers),
        thresholds_section(numbers),
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
    return render_page(
        Page(title, [s for s in sections if s.parts], subtitle, badge(numbers["gate"]))
    )


def _name(provenance: Numbers) -> str:
    model = provenance.get("model") or {}
    return str(model.get("adapter") or model.get("name") or model.get("base") or "a model")


def _provenance(numbers: Numbers) -> Section:
    facts = on_one_line(numbers["provenance"])
    seen, n = numbers["seen_in_training"], numbers["headline"]["n"]
    first = [(name, said) for name, said in facts if name in FIRST_FACTS]
    first.append(("posts trained on", seen_words(seen, n)))
    rest = [(name, said) for name, said in facts if name not in FIRST_FACTS]
    parts: list[Part] = [_facts("What was evaluated", first)]
    if rest:
        title = f"Further facts ({len(rest)}): weights, device, packages"
        parts.append(replace(_facts(title, rest), folded=True))
    if seen:
        said = (
            f"{seen:,} of these {n:,} posts are among those that the model was trained on. They "
            "are not held out: what is measured here is better than new posts would give."
        )
        parts.insert(0, Words(said, "warning"))
    return Section("Provenance", parts)


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> PageTable:
    rows = [[text(name), text(said, "words")] for name, said in facts]
    return PageTable(title, ["what", "value"], rows)


def _replies(numbers: Numbers) -> Section:
    groups = {"all posts": {"n": numbers["headline"]["n"], "outcomes": numbers["outcomes"]}}
    rows = [
        [text(name), count(g["n"]), *(_rate_of(g["outcomes"][o], g["n"]) for o in OUTCOMES)]
        for name, g in {**groups, **numbers["groups"]}.items()
    ]
    parts: list[Part] = [PageTable("Replies", ["posts", "n", *OUTCOMES], rows)]
    chance = numbers["unreadable_by_group_p"]
    if chance is not None and chance < 0.05:
        said = f"Unreadable replies go with the group (permutation p {chance:.2g})."
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
    parts.append(PageTable("Unreadable replies read in three ways", header, policies))
    return Section("Replies", parts)


def _rate_of(hits: int, n: int) -> TableCell:
    return TableCell(percent(hits / n if n else None), hits / n if n else None)


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
    parts: list[Part] = [PageTable("Headline", ["metric", *columns], rows)]
    if base:
        parts += base_parts(numbers)
    counts = numbers["headline"]
    confusion = [
        [text("truly hate"), count(counts["tp"]), count(counts["fn"])],
        [text("truly normal"), count(counts["fp"]), count(counts["tn"])],
    ]
    parts.append(PageTable("Confusion matrix", ["", "called hate", "called normal"], confusion))
    return Section("Headline, beside what is easily had", parts)


def _slices(numbers: Numbers) -> Section:
    rows = [
        [text(f"{s['kind']}: {s['name']}"), count(s["metrics"]["n"]),
         *(estimate(s["metrics"][m], s["intervals"][m]) for m in ("accuracy", "f1", "auroc")),
         *(estimate(s[r]["value"], s[r]["interval"]) for r in RATES)]
        for s in numbers["slices"]
    ]  # fmt: skip
    header = ["slice", "posts", "accuracy", "F1", "AUROC", *map(spelled_out, RATES)]
    return Section("Slices", [PageTable("Parts of the posts", header, rows)] if rows else [])


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
        parts.append(PageTable("Accuracy by functionality", header, rows))
    if pairs := numbers["contrasts"]:
        parts.append(_contrasts(pairs))
    if pairs := numbers["invariances"]:
        parts.append(_invariances(pairs))
    if found := numbers["swaps"]:
        parts.append(_swaps(found, numbers["swap_terms_version"]))
    return Section("Functional tests", parts)


def _contrasts(pairs: Sequence[Numbers]) -> PageTable:
    rows = [
        [text(c["functionality"]), count(c["n"]), _spread(c["consistency"]),
         count(c["only_reference"]), count(c["only_contrast"])]
        for c in pairs
    ]  # fmt: skip
    header = ["contrast", "pairs", "both right", "only the reference", "only this one"]
    return PageTable("Contrast pairs: labels differ, words hardly", header, rows)


def _invariances(pairs: Sequence[Numbers]) -> PageTable:
    rows = [
        [text(c["functionality"]), count(c["n"]), _spread(c["consistency"]),
         _spread(c["same_call"]), count(c["same_call"]["of"]), count(c["unread"])]
        for c in pairs
    ]  # fmt: skip
    header = ["change", "pairs", "both right", "same call", "pairs read", "pairs unread"]
    note = "Same call, right or wrong: of the pairs whose two replies could be read."
    return PageTable("Invariance pairs: the label stays, words hardly", header, rows, note)


def _swaps(found: Sequence[Numbers], terms: int) -> PageTable:
    rows = [
        [text(f"{s['before']} to {s['after']}"), count(s["flips"]["of"]), _spread(s["flips"]),
         count(s["to_hate"]), count(s["unread"]),
         estimated_change(s["mean_shift"], s["shift_interval"])]
        for s in found
    ]  # fmt: skip
    header = ["swap", "pairs read", "flip rate", "flips to hate", "pairs unread", "mean shift"]
    note = (
        f"Term list version {terms}. The label is the same post's. Flips are of the pairs whose "
        "two replies could be read."
    )
    return PageTable("The group swapped for another", header, rows, note)


def _spread(share: Numbers) -> TableCell:
    return estimate(share["value"], share["interval"])


def _errors(numbers: Numbers, texts: Mapping[str, str]) -> Section:
    rows = [
        [text(group), text(post["id"]), text(post["true_label"]), text(post["label"]),
         value(post["score"]), text(post["source_dataset"]),
         text(texts.get(post["id"], REDACTED), "words")]
        for group, posts in numbers["confident_errors"].items()
        for post in posts
    ]  # fmt: skip
    scored = any(post["score"] is not None for posts in numbers["confident_errors"].values()
                 for post in posts)  # fmt: skip
    title = "Confident errors" if scored else "Errors"
    if not rows:
        return Section(title, [])
    header = ["group", "id", "label", "called", "P(hate)", "source", "post"]
    said = "The surest errors of each group" if scored else "Errors of each group, the first by id"
    parts: list[Part] = [PageTable(said, header, rows)]
    return Section(title, [Words(CONTENT_WARNING, "danger"), *parts] if texts else parts)
