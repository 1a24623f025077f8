"""The names that data sets give to the people a post is about."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from hsd.data.example import NONE

_OURS = {
    "lgbtq": "lgbtq lgbt lgbtqia lgbtqi lgbtq+ lgbtqia+ lgbt+ queer homosexual homosexuals gay "
    "gays lesbian lesbians bisexual bisexuals trans transgender transgenders transsexual asexual "
    "non-binary nonbinary intersex",
    "middle_east": "middle_east middle_eastern middleeast middleeastern mideast arab arabs arabic "
    "muslim muslims islam islamic persian iranian iraqi syrian palestinian turkish egyptian",
    "mexican": "mexican mexicans latino latinos latina latinas latinx hispanic hispanics chicano "
    "chicana mexican_american latin_american",
}
_OTHERS = (
    "other others african black white caucasian asian jewish jews jew women woman men man refugee "
    "refugees immigrant immigrants migrant disabled disability christian hindu buddhism buddhist "
    "indian indians indigenous native_american chinese minority nonreligious economic heterosexual "
    "american americans african_american mental_disability physical_disability mental_dis "
    "physical_dis"
)
_NOBODY = {"", "none", "null", "nan", "n/a", "na", "nobody", "no_target"}

NAMES: dict[str, str] = {name: group for group, names in _OURS.items() for name in names.split()}
NAMES |= dict.fromkeys(_OTHERS.split(), "other")
"""Group names in lower case, spaces as underscores, to our groups."""

PERSONAS = {"islam": "muslim", "muslims": "muslim", "arabs": "arab", "mexicans": "mexican"}
"""Persona tags that data sets spell in several ways."""

_SEPARATOR = re.compile(r"[|;,/]")
_PEOPLE = re.compile(r"_(folks?|people|persons?|community)$")


def parse_groups(value: Any) -> tuple[str, ...]:
    """Return our groups for a name, a list of names, or names joined by `|`, `;`, `,` or `/`.

    Each group once, in the order named; nobody is (). A name that nothing is known about is
    `other`. Raises ValueError for one that looks like a misspelt name of our own groups.
    """
    groups = (group for name in split_names(value) if (group := _group(_plain(name))))
    return tuple(dict.fromkeys(groups))


def persona(names: Iterable[str]) -> str:
    """Return persona tags as one string in lower case, each once, joined by `|`."""
    tags = (PERSONAS.get(_plain(name), name.strip().lower()) for name in names)
    return "|".join(dict.fromkeys(tags))


def split_names(value: Any) -> list[str]:
    """Return the single names in a cell, without those that mean nobody."""
    parts: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    cells = [str(part) for part in parts if _plain(str(part)) not in _NOBODY]
    names = [name.strip() for cell in cells for name in _SEPARATOR.split(cell)]
    return [name for name in names if _plain(name) not in _NOBODY]


def joined(groups: Sequence[str]) -> str:
    """Return groups as one cell: `lgbtq|mexican`, or `none`."""
    return "|".join(groups) or NONE


def _plain(name: str) -> str:
    return _PEOPLE.sub("", re.sub(r"[\s_]+", "_", name.strip().lower()))


@lru_cache(maxsize=4096)
def _group(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    words = [NAMES[word] for word in re.split(r"[_-]", name) if NAMES.get(word, "other") != "other"]
    if words:
        return words[0]  # `gay men`, `trans women`: about the group that we follow
    close = get_close_matches(name, NAMES, n=1, cutoff=0.85)
    if close and NAMES[close[0]] != "other":
        raise ValueError(f"unknown group {name[:40]!r}. Did you mean '{close[0]}'?")
    return "other"
