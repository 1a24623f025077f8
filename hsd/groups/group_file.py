"""A group file: the groups that a person follows, each with the spellings that data sets use."""

import re
from typing import Self

from pydantic import model_validator

from hsd.config.strict import Strict, Text
from hsd.errors import did_you_mean
from hsd.example import NONE
from hsd.groups.group_names import OTHER, words_of

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_]{0,38}[a-z0-9])?")
"""A group's name is a column, a key and a word on pages."""
_TAKEN = (NONE, OTHER, "all")


class GroupEntry(Strict):
    """One group."""

    names: tuple[Text, ...] = ()
    """Spellings that data sets use, in any case; its own name is one of them."""
    parent: Text | None = None
    """The group that this one is a part of: a post about this one counts in both."""
    title: Text | None = None
    """What pages call it. Default: its name."""
    swaps: dict[Text, tuple[Text, ...]] = {}
    """Neutral words by grammatical form (`adjective`, `plural`), for `hsd data swap`."""


class GroupFile(Strict):
    """The groups that posts are counted in, and the names that are none of them."""

    description: Text | None = None
    """For whom these groups are."""
    groups: dict[Text, GroupEntry]
    """The groups by name, in the order of tables."""
    intersections: tuple[Text, ...] = ()
    """Groups that are also counted together, such as `lgbtq & middle_east`."""
    other: tuple[Text, ...] = ()
    """Names that count as `other` and are known to: they are not listed as unknown."""
    other_swaps: dict[Text, tuple[Text, ...]] = {}
    """Words for people of no group here, by grammatical form."""

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        for name, entry in self.groups.items():
            _require_name(name)
            _require_parent(name, entry.parent, self.groups)
        spelled_groups(self)
        _require_own_swaps(self)
        for text in self.intersections:
            intersected(text, self.groups)
        return self


def spelled_groups(file: GroupFile) -> dict[str, str]:
    """Return the group of each spelling, `other` for names that are known to be of none.

    Raises ValueError for a spelling that two groups share: a post would count in either.
    """
    found: dict[tuple[str, ...], str] = {}
    entries = [(group, (group, *entry.names)) for group, entry in file.groups.items()]
    for group, names in (*entries, (OTHER, (OTHER, *file.other))):
        for name in names:
            words = words_of(name)
            if not words:
                raise ValueError(f"group {group}: the spelling '{name}' has no letter in it")
            known = found.setdefault(words, group)
            if known != group:
                raise ValueError(
                    f"groups {known} and {group} both have the spelling '{name}'; a name is of one "
                    "group (a part of a group goes into one with `parent`)"
                )
    return {"_".join(words): group for words, group in found.items()}


def ancestors(name: str, groups: dict[str, GroupEntry]) -> tuple[str, ...]:
    """Return the groups that a group is a part of, the widest first."""
    parent = groups[name].parent
    return (*ancestors(parent, groups), parent) if parent else ()


def intersected(text: str, groups: dict[str, GroupEntry]) -> tuple[str, ...]:
    """Return the groups of `lgbtq & middle_east`. Raises ValueError for an unknown one."""
    names = tuple(part.strip() for part in text.split("&"))
    if len(set(names)) < 2:
        raise ValueError(f"intersection '{text}': expected two groups, such as 'women & muslim'")
    for name in names:
        if name not in groups:
            raise ValueError(
                f"intersection '{text}': '{name}' is no group here.{did_you_mean(name, groups)}"
            )
    return names


def _require_own_swaps(file: GroupFile) -> None:
    """Raise ValueError for a word for swaps that two groups have."""
    swaps = {OTHER: file.other_swaps} | {name: e.swaps for name, e in file.groups.items()}
    found: dict[str, str] = {}
    for group, forms in swaps.items():
        for word in (word.lower() for words in forms.values() for word in words):
            if found.setdefault(word, group) != group:
                raise ValueError(
                    f"groups {found[word]} and {group} both have the word '{word}' for swaps"
                )


def _require_name(name: str) -> None:
    if name in _TAKEN:
        raise ValueError(f"group '{name}': this word has a meaning of its own; name it otherwise")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"group '{name[:40]}': expected a name of small letters, digits and _, such as "
            "native_american; `title` is what pages show"
        )


def _require_parent(name: str, parent: str | None, groups: dict[str, GroupEntry]) -> None:
    seen = [name]
    while parent is not None:
        if parent not in groups:
            hint = did_you_mean(parent, groups)
            raise ValueError(f"groups.{seen[-1]}.parent: '{parent}' is no group here.{hint}")
        seen.append(parent)
        if parent in seen[:-1]:
            raise ValueError(f"groups.{name}.parent goes in a circle: {' -> '.join(seen)}")
        parent = groups[parent].parent
