"""What in the data would spoil a result, found before a model is trained or evaluated on it.

Errors make a result wrong: unreadable rows or answers, posts in two splits, the group named in the
prompt, another prompt than prompt.json's. Warnings make it weaker: duplicates, contradicting
labels, too few posts, posts that are cut. Chats are looked at as the posts in them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hsd.counted import counted
from hsd.data.duplicates import Pair, conflicts, describe_duplicates, find_pairs, leaks
from hsd.data.loaded_file import SHOWN, by_reason
from hsd.data.posts import Post, read_posts
from hsd.data.read_rows import BadRow
from hsd.data.row_lengths import Measure, PostLength, length_histogram, overflow
from hsd.data.table_columns import Columns
from hsd.data.vote_shares import across, shares_said
from hsd.example import Example, Label
from hsd.groups.group_set import GroupSet
from hsd.groups.name_lists import joined, unknown_said

PLANNED_RATE = 0.25
"""Error rate that power is worked out at: that of a middling detector."""
WANTED = 0.1
"""A half-width above this decides nothing that a person would act on: warned about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, how often, and the first places; never a post's text."""

    severity: str
    what: str
    count: int
    places: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    """Why rows cannot be used, each behind its first places, the most frequent first."""

    @property
    def said(self) -> str:
        """How many of what: `1 row that cannot be read`."""
        return counted(self.count, _ONE.get(self.what) or _FIRST.sub(r"\1", self.what), self.what)


_ONE = {
    "chats that the prompt.json beside them did not ask": (
        "chat that the prompt.json beside it did not ask"
    ),
    "prompts that name the group": "prompt that names the group",
    "ids that repeat": "id that repeats",
    "columns that are not read": "column that is not read",
    "rows of another split than their file's name says": (
        "row of another split than its file's name says"
    ),
}
"""Findings whose first noun is not all that changes where there is one."""
_FIRST = re.compile(r"^(test \w+?|\w+?)s\b")


@dataclass(frozen=True, slots=True)
class Power:
    """What the posts of a split can show about one group: half-widths of 95 % intervals.

    At a rate of PLANNED_RATE; None without a post. `gap` is that of a difference to the smallest
    other group.
    """

    split: str
    group: str
    label: Label
    n: int
    rate: float | None
    gap: float | None


@dataclass(frozen=True, slots=True)
class DataFindings:
    """Everything the doctor found. `cells` are posts by split, group, label and source.

    `lengths` and `overflow` count rows in `unit`, of which `measured` is a sentence; `notes` say
    how rows were read where that is not plain.
    """

    rows: int
    cells: dict[tuple[str, str, Label, str], int]
    power: tuple[Power, ...]
    findings: tuple[Finding, ...]
    lengths: dict[str, int]
    overflow: dict[str, tuple[int, int]]
    unit: str
    measured: str
    notes: tuple[str, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What makes a result wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def check_data(
    files: Sequence[Path],
    measure: Measure | None = None,
    max_length: int | None = None,
    groups: GroupSet | None = None,
    columns: Columns | None = None,
) -> DataFindings:
    """Return what is wrong in files of posts or of chats; a file's name tells its split.

    `measure` says how long a row is, by default its post's characters; rows that are longer than
    `max_length` count as overflow. `groups` are those that posts are counted in; `columns` are
    those of tables of a person's own.
    """
    measure = measure or PostLength()
    read = read_posts(files, groups, columns)
    examples = read.examples
    lengths = [measure.length(post) for post in read.posts]
    found = [
        _bad("rows that cannot be read", read.bad),
        _bad("chats whose answer or turns are wrong", read.bad_chats),
        _finding("error", "chats that the prompt.json beside them did not ask", read.astray),
        _finding("error", "prompts that name the group", read.naming),
        _finding("error", "ids that repeat", _repeated(examples)),
        *_duplicates(examples),
        *_weak(examples),
        _finding("warning", "columns that are not read", read.unread),
        _finding("warning", "rows of another split than their file's name says", read.misplaced),
        _finding("warning", "splits with posts of one label", _one_label(examples)),
        _finding("warning", "posts whose hate_share says another label", across(examples)),
        _cut(read.posts, lengths, max_length, measure.unit),
    ]  # fmt: skip
    return DataFindings(
        read.rows,
        dict(sorted(_counted(examples).items())),
        tuple(power(examples)),
        tuple(finding for finding in found if finding.count),
        length_histogram(lengths),
        overflow(read.posts, lengths, max_length),
        measure.unit,
        measure.note,
        (
            *read.notes,
            *shares_said(examples),
            *unknown_said(example.unknown_groups for example in examples),
        ),
    )


def power(examples: Sequence[Example]) -> list[Power]:
    """Return how wide intervals of error rates will be, by split, group and label."""
    counts: dict[tuple[str, Label], Counter[str]] = defaultdict(Counter)
    for example in examples:
        for group in example.groups:
            counts[example.split, example.label][group] += 1
    found = []
    for (split, label), groups in sorted(counts.items()):
        for group, n in sorted(groups.items()):
            others = [m for other, m in groups.items() if other != group]
            gap = half_width(n, min(others)) if others else None
            found.append(Power(split, group, label, n, half_width(n), gap))
    return found


def half_width(n: int, other: int | None = None) -> float:
    """Return 1.96 standard errors of a rate of PLANNED_RATE, or of a difference of two such."""
    variance = PLANNED_RATE * (1 - PLANNED_RATE)
    return float(1.96 * (variance / n + (variance / other if other else 0.0)) ** 0.5)


def _duplicates(examples: Sequence[Example]) -> list[Finding]:
    pairs = find_pairs([example.text for example in examples])
    across = leaks(examples, pairs)
    crossing = _beside(examples, pairs, across)
    within = [p for p in pairs if examples[p.first].split == examples[p.second].split]
    return [
        _finding("error", "posts with a duplicate in a held-out split", _pairs(examples, across)),
        _finding("warning", "pairs of duplicates across other splits",
                 _pairs(examples, crossing)),
        _finding("warning", "pairs of exact duplicates within a split",
                 _pairs(examples, [p for p in within if p.exact])),
        _finding("warning", "pairs of near duplicates within a split",
                 _pairs(examples, [p for p in within if not p.exact])),
        _finding("warning", "pairs of duplicates with contradicting labels",
                 _pairs(examples, conflicts(examples, pairs))),
    ]  # fmt: skip


def _beside(
    examples: Sequence[Example], pairs: Sequence[Pair], across: Sequence[Pair]
) -> list[Pair]:
    """Return the pairs across splits that no leak names: a leak names one pair per later split."""
    told = {(leak.first, examples[leak.second].split) for leak in across}
    return [
        p
        for p in pairs
        if examples[p.first].split != examples[p.second].split
        and (p.first, examples[p.second].split) not in told
        and (p.second, examples[p.first].split) not in told
    ]


def _weak(examples: Sequence[Example]) -> list[Finding]:
    """Return groups whose held-out posts are too few to estimate an error rate."""
    weak = [p for p in power(examples) if p.split == "test" and (p.rate or 1.0) > WANTED]
    places = [f"{p.group} {p.label}: {counted(p.n, 'post')}, +-{p.rate:.2f}" for p in weak]
    return [_finding("warning", "test groups with too few posts of a label", places)]


def _one_label(examples: Sequence[Example]) -> list[str]:
    """Return the splits that teach, or test, only one answer whatever a post says."""
    counts: dict[str, Counter[Label]] = defaultdict(Counter)
    for example in examples:
        counts[example.split][example.label] += 1
    return [
        f"{split}: {counted(n, 'post')}, all {label}"
        for split, labels in counts.items()
        for label, n in labels.items()
        if len(labels) == 1
    ]


def _cut(
    posts: Sequence[Post], lengths: Sequence[int], max_length: int | None, unit: str
) -> Finding:
    pairs = zip(posts, lengths, strict=True)
    places = [post.example.id for post, n in pairs if max_length and n > max_length]
    return _finding("warning", f"rows over {max_length} {unit}", places)


def _counted(examples: Sequence[Example]) -> Counter[tuple[str, str, Label, str]]:
    found: Counter[tuple[str, str, Label, str]] = Counter()
    for e in examples:
        found[e.split, joined(e.groups), e.label, e.source_dataset or "unnamed"] += 1
    return found


def _repeated(examples: Sequence[Example]) -> list[str]:
    counts = Counter(example.id for example in examples)
    return [id_ for id_, count in counts.items() if count > 1]


def _pairs(examples: Sequence[Example], pairs: Sequence[Pair]) -> list[str]:
    found = (describe_duplicates(examples, pair) for pair in pairs)
    return [f"{' ~ '.join(pair['ids'])} ({' ~ '.join(pair['splits'])})" for pair in found]  # type: ignore[arg-type]


def _bad(what: str, bad: Sequence[BadRow]) -> Finding:
    found = _finding("error", what, [row.place for row in bad])
    return replace(found, reasons=tuple(by_reason(bad)[:SHOWN]))


def _finding(severity: str, what: str, places: Sequence[str]) -> Finding:
    return Finding(severity, what, len(places), tuple(places[:5]))
