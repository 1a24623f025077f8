"""The plain-text report of one evaluation, from the numbers of report.json. It quotes no post."""

from collections.abc import Iterable, Iterator, Sequence

from hsd.metrics.bias import KINDS
from hsd.metrics.classification import METRIC_NAMES, POLICIES
from hsd.metrics.drawn_rates import GAPS
from hsd.metrics.groups import MINIMUM_N, RATES
from hsd.metrics.intervals import Interval
from hsd.metrics.outcomes import READABLE
from hsd.prediction import OUTCOMES
from hsd.report.comparability import RunSettings
from hsd.report.formatting import (
    GAP_WORDS,
    JUDGED_BY,
    KIND_WORDS,
    METRIC_WORDS,
    POLICY_WORDS,
    RATE_LEGEND,
    RATE_WORDS,
    UNREADABLE_IS_WRONG,
    Numbers,
    between,
    change_between,
    held_equal,
    mix_words,
    number,
    on_one_line,
    p_value,
    percent,
    seen_words,
    share_words,
    signed,
    worst_words,
)
from hsd.report.gate_section import badge
from hsd.report.noise_sentences import noise_lines

UNREADABLE = [outcome for outcome in OUTCOMES if outcome not in READABLE]


def text_report(numbers: Numbers) -> str:
    """Return evaluation_report_*.txt."""
    title = "hsd evaluation report"
    sections = [
        f"{title}\n{'=' * len(title)}",
        _columns(_facts(numbers)),
        _section("Verdict", _verdict(numbers)),
        _section(f"Headline (95 % intervals). {UNREADABLE_IS_WRONG}", _headline(numbers)),
        _section("Beside it", _baselines(numbers)),
        _section("Confusion matrix (headline)", _confusion(numbers["headline"])),
        _section("Unreadable replies read in other ways", _policies(numbers)),
        _section("Replies", _outcomes(numbers)),
        _section("Error rates by group (95 % Wilson intervals)", _groups(numbers["groups"])),
        _section("Precision and share called hate by group", _selection(numbers["groups"])),
        *([_section("AUC by group (95 %)", _areas(found))] if (found := _auc(numbers)) else []),
        _section("Largest differences between groups (95 %)", "\n".join(gap_lines(numbers))),
        *(
            [_section("Calibration (95 %)", _calibration(numbers))]
            if numbers["calibration"]
            else []
        ),
        *(
            [_section("Calibration against the share of annotators (95 %)", _by_share(found))]
            if (found := numbers["calibration_against_share"])
            else []
        ),
        *([_section("Score noise", "\n".join(lines))] if (lines := noise_lines(numbers)) else []),
        *([_section("Against the base, paired (95 %)", _base(numbers))] if numbers["base"] else []),
        _section("Not measured", "\n".join(f"- {one}" for one in numbers["not_measured"])),
        *_notes(),
    ]
    return "\n\n".join(sections) + "\n"


def headline_rows(numbers: Numbers) -> list[tuple[str, str, str]]:
    """Return metric, value and interval as text, for every report and table."""
    return [
        (METRIC_WORDS[name], number(numbers["headline"][name]), _ends(numbers["intervals"][name]))
        for name in METRIC_NAMES
    ]


def group_rows(groups: Numbers) -> list[tuple[str, ...]]:
    """Return one row a group: name, both rates with interval and n, unreadable replies."""
    return [
        (
            name,
            *(text for rate in RATES for text in _share(group[rate])),
            str(sum(group["outcomes"][outcome] for outcome in UNREADABLE)),
        )
        for name, group in groups.items()
    ]


GROUP_HEADER = ("group", "FPR", "95 %", "of", "FNR", "95 %", "of", "unread")


def gap_lines(numbers: Numbers) -> list[str]:
    """Return one line a gap, raw and with sources held equal, the worst group, and the warning."""
    gaps = numbers["gaps"]
    lines = [_gap_line(GAP_WORDS[name], gaps["raw"]["gaps"].get(name)) for name in GAPS]
    lines += [
        _gap_line(f"{GAP_WORDS[name]}, sources held equal", gap)
        for name, gap in gaps["standardised"]["gaps"].items()
    ]
    lines.append(held_equal(gaps))
    if worst := gaps["worst"]:
        lines.append(worst_words(worst))
    if gaps["disagreeing"]:
        lines.append(f"WARNING: {mix_words(gaps)}")
    return lines


def _facts(numbers: Numbers) -> Iterator[tuple[str, str]]:
    found = numbers["headline"]
    n, hates, normals = found["n"], found["tp"] + found["fn"], found["fp"] + found["tn"]
    yield "strategy", numbers["strategy"]
    yield "posts", f"{n} ({hates} hate, {normals} normal)"
    yield "posts trained on", seen_words(numbers["seen_in_training"], n)
    yield "posts cut to fit", str(numbers["truncated_posts"])
    yield "seconds per post", number(numbers["mean_response_time_s"])
    yield from on_one_line(numbers["provenance"])


def _verdict(numbers: Numbers) -> str:
    found = badge(numbers["gate"])
    return "\n".join([found.status, *found.reasons])


def _calibration(numbers: Numbers) -> str:
    named = {"all posts": numbers["calibration"], **numbers["calibration_by_group"]}
    rows = [
        (
            name,
            str(found["n"]),
            number(found["ece"]),
            _ends(found["ece_interval"]),
            number(found["brier"]),
            _ends(found["brier_interval"]),
        )
        for name, found in named.items()
    ]
    return _columns([("posts", "n", "ECE", "95 %", "Brier", "95 %"), *rows])


def _by_share(found: Numbers) -> str:
    rows = [
        (
            words,
            str(found["n"]),
            number(found[name]["ece"]),
            number(found[name]["brier"]),
            _ends(found[name]["brier_interval"]),
            number(found[name]["log_loss"]),
            _ends(found[name]["log_loss_interval"]),
        )
        for name, words in JUDGED_BY.items()
    ]
    header = ("judged by", "n", "ECE", "Brier", "95 %", "log-loss", "95 %")
    return f"{share_words(found)}\n{_columns([header, *rows])}"


def _base(numbers: Numbers) -> str:
    """Return which run the base is, and what changed from it for whom."""
    base, compared = numbers["base"], numbers["base"]["comparison"]
    changes = {METRIC_WORDS[name]: compared["metrics"][name] for name in METRIC_NAMES}
    changes |= {GAP_WORDS[name]: compared["gaps"][name] for name in GAPS}
    changes |= {
        f"{r['group']}: {RATE_WORDS[r['rate']]} of {r['n']}": r for r in compared["rates"] if r["n"]
    }
    rows = [(name, *_change(change)) for name, change in changes.items()]
    chance = p_value(compared["mcnemar_p"])
    broken, fixed = len(compared["newly_broken"]), len(compared["newly_fixed"])
    return "\n".join(
        [
            f"{base['name']}: prompt {RunSettings(**base['asked']).words()}",
            f"{broken} newly wrong, {fixed} newly right (exact McNemar p {chance})",
            _columns([("", "base", "here", "change", "95 %"), *rows]),
        ]
    )


def _change(change: Numbers) -> tuple[str, str, str, str]:
    ends = change["interval"]
    return (
        number(change["reference"]),
        number(change["other"]),
        signed(change["difference"]),
        change_between(Interval(*ends) if ends else None),
    )


def _gap_line(words: str, gap: Numbers | None) -> str:
    if gap is None:
        return f"{words}: not estimable."
    where = f"{gap['highest']}, {gap['lowest']}"
    chance = "" if gap["p_value"] is None else f"; chance {p_value(gap['p_value'])}"
    return f"{words}: {number(gap['value'])} {_ends(gap['interval'])} ({where}{chance})."


def _headline(numbers: Numbers) -> str:
    return _columns(headline_rows(numbers))


def _baselines(numbers: Numbers) -> str:
    """Return the headline metrics that need no interval to differ, a row a baseline."""
    names = ("accuracy", "f1", "auroc")
    rows = [
        (baseline["name"], *(number(baseline["metrics"][name]) for name in names))
        for baseline in numbers["baselines"]
    ]
    return _columns([("baseline", *(METRIC_WORDS[name] for name in names)), *rows])


def _selection(groups: Numbers) -> str:
    shares = ("precision", "selection_rate")
    rows = [
        (name, *(text for share in shares for text in _share(group[share])))
        for name, group in groups.items()
    ]
    return _columns([("group", "precision", "95 %", "of", "called", "95 %", "of"), *rows])


def _auc(numbers: Numbers) -> list[tuple[str, Numbers]]:
    found = numbers["auc_by_group"]
    return [*found["groups"].items(), ("generalised mean", found["means"])] if found else []


def _areas(named: Iterable[tuple[str, Numbers]]) -> str:
    header = ("group", *(text for kind in KINDS for text in (KIND_WORDS[kind], "95 %")))
    rows = [
        (
            name,
            *(
                text
                for kind in KINDS
                for text in (number(areas[kind]["value"]), _ends(areas[kind]["interval"]))
            ),
        )
        for name, areas in named
    ]
    return _columns([header, *rows])


def _confusion(counts: Numbers) -> str:
    return _columns(
        [
            ("", "called hate", "called normal"),
            ("truly hate", str(counts["tp"]), str(counts["fn"])),
            ("truly normal", str(counts["fp"]), str(counts["tn"])),
        ]
    )


def _policies(numbers: Numbers) -> str:
    names = METRIC_NAMES[:5]
    rows = []
    for policy in POLICIES:
        metrics = numbers["policies"][policy]
        values = (number(metrics[name]) for name in names)
        rows.append((POLICY_WORDS[policy], str(metrics["n"]), *values))
    return _columns([("unreadable is", "posts", *(METRIC_WORDS[name] for name in names)), *rows])


def _outcomes(numbers: Numbers) -> str:
    found = numbers["outcomes"]
    n = sum(found.values())
    return _columns((o, str(found[o]), percent(found[o] / n if n else None)) for o in OUTCOMES)


def _groups(groups: Numbers) -> str:
    return _columns([GROUP_HEADER, *group_rows(groups)])


def _share(share: Numbers) -> tuple[str, str, str]:
    return number(share["value"]), _ends(share["interval"]), str(share["of"])


def _ends(pair: Sequence[float] | None) -> str:
    return between(Interval(*pair) if pair else None)


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
