"""The names that data sets give to the people a post is about."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from hsd.data.example import NONE

_OURS = {
    "lgbtq": "lgbtq lgbt lgbtqia lgbtqi queer homosexual homosexuality gay lesbian bisexual "
    "bisexuality pansexual trans transgender transsexual transwoman transwomen transman transmen "
    "asexual non-binary nonbinary genderqueer intersex same-sex",
    "middle_east": "middle_east middle_eastern middleeast middleeastern mideast mena arab arabian "
    "arabic muslim moslem islam islamic persia persian iran iranian iraq iraqi syria syrian "
    "palestine palestinian lebanon lebanese jordanian saudi yemen yemeni turk turkish egypt "
    "egyptian",
    "mexican": "mexican mexico latino latina latinx latine hispanic chicano chicana chicanx "
    "mexican_american latin_american",
}
_OTHERS = (
    "other african black white caucasian asian jewish jew woman women man men girl boy female male "
    "refugee immigrant migrant disabled disability disabilities christian christianity hindu "
    "hinduism buddhism buddhist judaism indian indigenous native_american chinese minority "
    "minorities nonreligious economic heterosexual american african_american people_of_color poc "
    "mental_disability physical_disability mental_disabilities physical_disabilities mental_dis "
    "physical_dis"
)

NAMES: dict[str, str] = {name: group for group, names in _OURS.items() for name in names.split()}
NAMES |= dict.fromkeys(_OTHERS.split(), "other")
"""Group names in lower case, spaces as underscores, in the singular, to our groups."""

PERSONAS = {"islam": "muslim", "muslims": "muslim", "arabs": "arab", "mexicans": "mexican"}
"""Persona tags that data sets spell in several ways."""

_SPELLED = NAMES | {f"{name}s": group for name, group in NAMES.items()}
_WORDS = {tuple(re.split("[_-]", name)): group for name, group in NAMES.items()}
_LONGEST = max(map(len, _WORDS))
_LGBT = re.compile(r"(2s)?(lgbt|glbt)\w*")
_SAYING_NOTHING = (
    "a an and are as community communities couple couples descent folk folks from group groups "
    "identifying identity in individual individuals is of or origin people person persons the "
    "those who with"
)
_AROUND = frozenset(_SAYING_NOTHING.split())
"""Words that say nothing of who is meant."""
_BEFORE_A_WORD = ("non", "ex", "anti", "pro", "former", "formerly")
"""`non-muslim`, `anti gay`, `exmuslim`: the next word is not who is meant, or that is not known."""
_NEGATIONS = (
    "not no never neither nor none without except excluding but than besides apart instead unlike"
)
_BEFORE_THE_REST = frozenset(_NEGATIONS.split())
"""`not muslim or arab`: nothing after it is who is meant."""
_NEGATED = re.compile(rf"\b(?:{'|'.join(sorted(_BEFORE_THE_REST))})\b|n['’]t\b", re.IGNORECASE)
_NOBODY = re.compile(
    r"|no|false|nil|null|nan|nat|na|n a|none|nothing|nobody|noone|unknown|unspecified|undefined"
    r"|unclear|untargeted|missing|empty"
    r"|none of (the|these|those)( above)?|(nobody|no one|noone)( in particular)?"
    r"|(no|none|without|not)( (a|an|any|clear|identifiable|particular|specific|target))*"
    r" (target|targets|targeted|group|groups|identity|victim|applicable|specified|known|available"
    r"|given|mentioned|named|person|label|answer|one)"
)
"""Of a name's words. Who is meant being unknown is no group either: `other` is a known one."""
_ABBREVIATION = re.compile(r"\b(?:[^\W_]\.)+[^\W_]?(?![^\W_])")
_KEPT = r"\b(?:2s)?(?:lgbt|glbt)\w*\+(?!\w)|\bn/a\b"
_SEPARATOR = re.compile(rf"({_KEPT})|[|;,\n]", re.IGNORECASE)
_JOINING = re.compile(rf"({_KEPT})|[&+/]|\s(?:and|or|and/or)\s", re.IGNORECASE)
_SHOWN = 20
"""Unknown names that a message lists, the most frequent first."""
_LONGEST_SHOWN = 40
"""Characters of a name that are shown: a cell may hold anything."""


def parse_groups(value: Any) -> tuple[str, ...]:
    """Return our groups for a name, a list of names, or several names in one cell.

    Names are joined by `|`, `;`, `,`, `/`, `&`, `+`, `and` or `or`. Each group once, in the order
    named; nobody is (). A name that nothing is known about, or that says who is not meant, is
    `other`: `unknown_names` has those. Raises ValueError for one that looks like a misspelt name
    of our own groups.
    """
    groups = (group for name in split_names(value) for group in _read(name)[0])
    return tuple(dict.fromkeys(groups))


def unknown_names(value: Any) -> tuple[str, ...]:
    """Return the names in a cell that count as `other` without being known as such."""
    return tuple(dict.fromkeys(name for name in split_names(value) if not _read(name)[1]))


def unknown_said(names: Iterable[Sequence[str]]) -> list[str]:
    """Return a sentence that lists the unknown names of posts with their counts; [] without any."""
    posts = [cell for cell in names if cell]
    counts = Counter(name for cell in posts for name in cell)
    if not counts:
        return []
    return [
        f"{len(posts)} {'post names a group' if len(posts) == 1 else 'posts name groups'} that hsd "
        f"does not know and counts as other: {_listed(counts)}."
    ]


def persona(names: Iterable[str]) -> str:
    """Return persona tags as one string in lower case, each once, joined by `|`."""
    tags = (PERSONAS.get(name.strip().lower(), name.strip().lower()) for name in names)
    return "|".join(dict.fromkeys(tags))


def split_names(value: Any) -> list[str]:
    """Return the single names in a cell, without those that mean nobody."""
    cells: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    parts = [part for cell in cells for part in _split(_SEPARATOR, str(cell))]
    names = [name.strip() for part in parts for name in _single(part)]
    return [name for name in names if not _NOBODY.fullmatch(" ".join(_words(name)))]


def joined(groups: Sequence[str]) -> str:
    """Return groups as one cell: `lgbtq|mexican`, or `none`."""
    return "|".join(groups) or NONE


def _split(separator: re.Pattern[str], text: str) -> list[str]:
    """Split at a separator, but not within what its first group keeps whole: `lgbtq+`, `n/a`."""
    return separator.sub(lambda found: found[1] or "\0", text).split("\0")


def _single(part: str) -> list[str]:
    """Split `gay and arab`; what follows a negation is one name: `not gay or arab`."""
    negated = _NEGATED.search(part)
    end = negated.start() if negated else len(part)
    *names, last = _split(_JOINING, part[:end])
    return [*names, last + part[end:]]


def _words(name: str) -> list[str]:
    text = _ABBREVIATION.sub(lambda found: found[0].replace(".", ""), name.lower())
    return re.findall(r"[^\W_]+", re.sub(r"n['’]t\b", " not", text).replace("'s", ""))


@lru_cache(maxsize=4096)
def _read(name: str) -> tuple[tuple[str, ...], bool]:
    """Return the groups that a name means, and whether all of it is known."""
    words = _words(name)
    found: list[str] = []
    known, at = True, 0
    while at < len(words) and words[at] not in _BEFORE_THE_REST:
        group, length = _longest(words[at:])
        if length:
            found.append(group)
        elif words[at] in _BEFORE_A_WORD:
            known, length = False, 1 + max(_longest(words[at + 1 :])[1], 1)
        elif words[at] not in _AROUND:
            known = False
        at += max(length, 1)
    known = known and bool(found) and at == len(words)
    if ours := [group for group in found if group != "other"]:
        return tuple(dict.fromkeys(ours)), True  # `gay men`: about the group that we follow
    if not known:
        _require_not_misspelt(name, words)
    return ("other",), known


def _longest(words: Sequence[str]) -> tuple[str, int]:
    """Return the group of the longest name that words begin with and its length; "", 0 without."""
    for length in range(min(_LONGEST, len(words)), 0, -1):
        *first, last = words[:length]
        for word in (last, last.removesuffix("s")):
            if group := _WORDS.get((*first, word)):
                return group, length
    return ("lgbtq", 1) if words and _LGBT.fullmatch(words[0]) else ("", 0)


def _require_not_misspelt(name: str, words: Sequence[str]) -> None:
    said = "_".join(word for word in words if word not in _AROUND)
    if any(said.startswith(prefix) for prefix in _BEFORE_A_WORD):
        return  # `nonmuslim` is near `muslim`, and the opposite
    close = get_close_matches(said, _SPELLED, n=1, cutoff=0.85)
    if close and _SPELLED[close[0]] != "other":
        raise ValueError(f"unknown group {name[:_LONGEST_SHOWN]!r}. Did you mean '{close[0]}'?")


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name[:_LONGEST_SHOWN]!r} {count}" for name, count in ordered[:_SHOWN])
    more = len(ordered) - _SHOWN
    return shown if more <= 0 else f"{shown} and {more} more names"
