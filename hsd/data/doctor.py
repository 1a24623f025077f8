"""What in the data would spoil a result, found before a model is trained or judged on it.

Errors make a result wrong: unreadable rows or answers, posts in two splits, the group named in the
prompt. Warnings make it weaker: doubles, contradicting labels, too few posts, posts that are cut.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hsd.data import cells
from hsd.data.chat import holds_chats, problem
from hsd.data.duplicates import Pair, conflicts, describe, find_pairs, leaks
from hsd.data.example import Example, Label
from hsd.data.groups import NAMES, joined
from hsd.data.loaded import Loaded
from hsd.data.rows import BadRow, Row, stream_rows
from hsd.data.sources import Reading, load_any

Length = Callable[[str], int]

HISTOGRAM = (16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of the length histogram; what is longer is one more bar."""
PLANNED_RATE = 0.25
"""Error rate that power is worked out at: that of a middling detector."""
WANTED = 0.1
"""A half-width above this decides nothing that a person would act on: warned about."""

_NAMED = re.compile(
    r"(?:target|persona|group|community)(?:[ _](?:group|tag|norm))*\s*[:=]\s*[\"']?"
    rf"({'|'.join(sorted((re.escape(n.replace('_', ' ')) for n in NAMES), key=len, reverse=True))}"
    r"|middle_east)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, how often, and the first places; never a post's text."""

    severity: str
    what: str
    count: int
    places: tuple[str, ...]


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
class Checked:
    """Everything the doctor found. `cells` are posts by split, group, label and source."""

    rows: int
    cells: dict[tuple[str, str, Label, str], int]
    power: tuple[Power, ...]
    findings: tuple[Finding, ...]
    lengths: dict[str, int]
    overflow: dict[str, tuple[int, int]]
    unit: str

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What makes a result wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def check(
    files: Sequence[Path],
    length: Length = len,
    unit: str = "characters",
    max_length: int | None = None,
) -> Checked:
    """Return what is wrong in files of posts or of chats; a file's name tells its split.

    `length` counts a post in `unit`; posts longer than `max_length` count as overflow.
    """
    loaded, found = Loaded(), []
    chats: list[BadRow] = []
    named: list[str] = []
    for file in files:
        if holds_chats(file):
            bad, inside = _chats(file)
            chats += bad
            named += inside
        else:
            part = load_any(file, Reading())
            loaded.examples.extend(_in_split(part.examples, file))
            loaded.bad.extend(part.bad)
    examples = loaded.examples
    found += [
        _finding("error", "rows that cannot be read", [b.place for b in loaded.bad]),
        _finding("error", "chats whose answer or turns are wrong", [b.place for b in chats]),
        _finding("error", "prompts that name the group", named),
        _finding("error", "ids that repeat", _repeated(examples)),
        *_doubles(examples),
        *_weak(examples),
    ]
    lengths = [length(example.text) for example in examples]
    overflow = _overflow(examples, lengths, max_length)
    if cut := [
        e.id for e, n in zip(examples, lengths, strict=True) if max_length and n > max_length
    ]:
        found.append(_finding("warning", f"posts longer than {max_length} {unit}", cut))
    return Checked(
        loaded.rows,
        dict(sorted(_counted(examples).items())),
        tuple(power(examples)),
        tuple(finding for finding in found if finding.count),
        histogram(lengths),
        overflow,
        unit,
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


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """Return how many posts are up to each of HISTOGRAM long."""
    names = [f"up to {end}" for end in HISTOGRAM] + [f"over {HISTOGRAM[-1]}"]
    places = (sum(n > end for end in HISTOGRAM) for n in lengths)
    counted = Counter(places)
    return {name: counted[place] for place, name in enumerate(names)}


def _in_split(examples: Sequence[Example], file: Path) -> list[Example]:
    """Return examples with a split; a row that names none is in its file's."""
    return [e if e.split else replace(e, split=cells.split(file.stem)) for e in examples]


def _chats(file: Path) -> tuple[list[BadRow], list[str]]:
    """Return the chats that cannot be learned from, and the places of prompts naming a group."""
    bad, named = [], []
    for row in stream_rows(file):
        if isinstance(row, BadRow):
            bad.append(row)
        elif (reason := problem(row.values)) is not None:
            bad.append(BadRow(row.place, reason))
        elif _names_group(row):
            named.append(row.place)
    return bad, named


def _names_group(row: Row) -> bool:
    turns = [m["content"] for m in row.values["messages"] if m["role"] != "assistant"]
    return any(_NAMED.search(turn.replace("_", " ")) or _NAMED.search(turn) for turn in turns)


def _doubles(examples: Sequence[Example]) -> list[Finding]:
    pairs = find_pairs([example.text for example in examples])
    across = leaks(examples, pairs)
    crossing = _beside(examples, pairs, across)
    within = [p for p in pairs if examples[p.first].split == examples[p.second].split]
    return [
        _finding("error", "posts with a double in a held-out split", _pairs(examples, across)),
        _finding("warning", "pairs of doubles across other splits",
                 _pairs(examples, crossing)),
        _finding("warning", "pairs of exact doubles within a split",
                 _pairs(examples, [p for p in within if p.exact])),
        _finding("warning", "pairs of near doubles within a split",
                 _pairs(examples, [p for p in within if not p.exact])),
        _finding("warning", "pairs of doubles with contradicting labels",
                 _pairs(examples, conflicts(examples, pairs))),
    ]  # fmt: skip


def _beside(
    examples: Sequence[Example], pairs: Sequence[Pair], across: Sequence[Pair]
) -> list[Pair]:
    """Return the pairs across splits that no leak tells: a leak names one double a later split."""
    told = {(leak.first, examples[leak.second].split) for leak in across}
    return [
        p
        for p in pairs
        if examples[p.first].split != examples[p.second].split
        and (p.first, examples[p.second].split) not in told
        and (p.second, examples[p.first].split) not in told
    ]


def _weak(examples: Sequence[Example]) -> list[Finding]:
    """Return groups whose held-out posts are too few to judge an error rate."""
    weak = [p for p in power(examples) if p.split == "test" and (p.rate or 1.0) > WANTED]
    places = [f"{p.group} {p.label}: {p.n} posts, +-{p.rate:.2f}" for p in weak]
    return [_finding("warning", "test groups with too few posts of a label", places)]


def _overflow(
    examples: Sequence[Example], lengths: Sequence[int], max_length: int | None
) -> dict[str, tuple[int, int]]:
    """Return posts over the limit and all posts by group; {} without a limit."""
    if max_length is None:
        return {}
    counted: dict[str, tuple[int, int]] = {}
    for example, n in zip(examples, lengths, strict=True):
        for group in example.groups or ("none",):
            over, of = counted.get(group, (0, 0))
            counted[group] = (over + (n > max_length), of + 1)
    return dict(sorted(counted.items()))


def _counted(examples: Sequence[Example]) -> Counter[tuple[str, str, Label, str]]:
    found: Counter[tuple[str, str, Label, str]] = Counter()
    for e in examples:
        found[e.split, joined(e.groups), e.label, e.source_dataset or "unnamed"] += 1
    return found


def _repeated(examples: Sequence[Example]) -> list[str]:
    counts = Counter(example.id for example in examples)
    return [id_ for id_, count in counts.items() if count > 1]


def _pairs(examples: Sequence[Example], pairs: Sequence[Pair]) -> list[str]:
    found = (describe(examples, pair) for pair in pairs)
    return [f"{' ~ '.join(pair['ids'])} ({' ~ '.join(pair['splits'])})" for pair in found]  # type: ignore[arg-type]


def _finding(severity: str, what: str, places: Sequence[str]) -> Finding:
    return Finding(severity, what, len(places), tuple(places[:5]))
