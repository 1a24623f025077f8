"""Which names in a data set fall into which group, and how many posts each group gets."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hsd.counted import counted
from hsd.groups.group_names import OTHER
from hsd.groups.group_set import GroupSet

_LONGEST_SHOWN = 60
_MOST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class NameCount:
    """A name as the data writes it, its groups, and the posts that have it."""

    name: str
    groups: tuple[str, ...]
    posts: int


@dataclass(frozen=True, slots=True)
class NameCounts:
    """The names in a data set: those of a group first, then those of none; frequent ones first.

    `by_group` counts posts; `nobody` are posts that name nobody.
    """

    names: tuple[NameCount, ...]
    by_group: dict[str, int]
    nobody: int
    posts: int

    def sentences(self, groups: GroupSet) -> list[str]:
        """Return how many posts each group has, and what falls into none."""
        found = [name for name in groups.names if self.by_group.get(name)]
        counts = ", ".join(f"{name} {self.by_group[name]}" for name in found) or "no group"
        outside = self.by_group.get(OTHER, 0)
        empty = [name for name in groups.names if not self.by_group.get(name)]
        lost = [one for one in self.names if one.groups == (OTHER,)]
        return [
            f"{counted(self.posts, 'post')}: {counts}; other {outside}; "
            f"about nobody {self.nobody}.",
            *[f"No post is about: {_first(empty)}."] * bool(empty),
            *[
                f"{counted(len(lost), 'name falls', 'names fall')} into no group, which counts as "
                "other. Put a name that you follow into a group's `names`."
            ]
            * bool(lost),
        ]


def _first(names: list[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def name_counts(rows: Iterable[tuple[tuple[str, ...], str]], groups: GroupSet) -> NameCounts:
    """Return the names in rows, each `(named, persona_tag)` of an example."""
    names: Counter[tuple[str, tuple[str, ...]]] = Counter()
    by_group: Counter[str] = Counter()
    nobody = posts = 0
    for row in rows:
        placed = groups.placed(*row)
        names.update({(name[:_LONGEST_SHOWN], own) for name, own in placed})
        about = groups.groups_of(*row)
        by_group.update(about)
        nobody += not about
        posts += 1
    counted = [NameCount(name, own, n) for (name, own), n in names.items()]
    counted.sort(key=lambda one: (one.groups == (OTHER,), -one.posts, one.name))
    return NameCounts(tuple(counted), dict(by_group), nobody, posts)
