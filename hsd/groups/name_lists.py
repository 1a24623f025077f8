"""Names of people as cells and sentences: joined, spelt one way, counted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hsd.example import NONE

PERSONAS = {"islam": "muslim", "muslims": "muslim", "arabs": "arab", "mexicans": "mexican"}
"""Persona tags that data sets spell in several ways."""
_SHOWN = 20
"""Unknown names that a message lists, the most frequent first."""
_LONGEST_SHOWN = 40
"""Characters of a name that are shown: a cell may hold anything."""


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


def joined(groups: Sequence[str]) -> str:
    """Return groups as one cell: `lgbtq|mexican`, or `none`."""
    return "|".join(groups) or NONE


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name[:_LONGEST_SHOWN]!r} {count}" for name, count in ordered[:_SHOWN])
    more = len(ordered) - _SHOWN
    return shown if more <= 0 else f"{shown} and {more} more names"
