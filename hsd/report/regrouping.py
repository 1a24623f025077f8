"""Predictions counted in other groups than those they were evaluated with; no model is needed.

A prediction keeps the groups of its evaluation and the names behind them (older ones in
`persona_tag` alone).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd.groups.group_names import OTHER
from hsd.groups.group_set import GroupSet, recorded_groups
from hsd.io.manifest import manifest_of
from hsd.prediction import Prediction

EVALUATED, REPORTED = "groups", "reported_groups"
"""Keys of a manifest: the groups that posts were read with, and those of the last report."""
NO_SHARED = "no shared group"
"""Where posts count that are about groups which only some of the compared runs have."""


def evaluated_groups(manifest: Mapping[str, Any]) -> GroupSet:
    """Return the groups that a run's predictions name."""
    return recorded_groups(manifest.get(EVALUATED))


def reported_groups(manifest: Mapping[str, Any]) -> GroupSet:
    """Return the groups that a run was last reported with."""
    return recorded_groups(manifest.get(REPORTED) or manifest.get(EVALUATED))


def other_groups_said(folder: Path, groups: GroupSet) -> list[str]:
    """Return what to do where a finished run was counted in other groups than those asked for."""
    if reported_groups(manifest_of(folder)).digest == groups.digest:
        return []
    return [
        f"{folder} was finished with other groups or intersections, and was not counted again; "
        "give --groups or --intersection to hsd report."
    ]


def regrouped(rows: Sequence[Prediction], before: GroupSet, groups: GroupSet) -> list[Prediction]:
    """Return predictions that named the groups of `before` with those of another set.

    Rows that keep their names are read as an evaluation would read them.
    """
    if before.digest == groups.digest:
        return list(rows)
    return [replace(row, groups=_groups(row, before, groups)) for row in rows]


def _groups(row: Prediction, before: GroupSet, groups: GroupSet) -> tuple[str, ...]:
    if row.named:
        return groups.groups_of(row.named, row.persona_tag, strict=False)
    return groups.regrouped(row.groups, row.persona_tag, before)


def grouped_as(rows: Sequence[Prediction], like: Sequence[Prediction]) -> list[Prediction]:
    """Return predictions with the groups that another run of the same posts gives them."""
    groups = {row.id: row.groups for row in like}
    return [replace(row, groups=groups.get(row.id, row.groups)) for row in rows]


def on_shared_groups(
    runs: Mapping[str, Sequence[Prediction]], sets: Mapping[str, GroupSet]
) -> tuple[dict[str, list[Prediction]], str | None]:
    """Return runs with the groups alone that all of them have, and a sentence on the others.

    A group is shared where it has the same posts in every run. None where all groups are alike.
    """
    first, *others = sets.values()
    if all(other.digest == first.digest for other in others):
        return {name: list(rows) for name, rows in runs.items()}, None
    members = [_members(rows) for rows in runs.values()]
    shared = [
        name
        for name in first.names
        if all(name in other.names for other in others)
        and all(found.get(name) == members[0].get(name) for found in members)
    ]
    every = {name for one in members for name in one} - {*shared, OTHER}
    apart = sorted(name for name in every if all(name in one.names for one in sets.values()))
    only = sorted(every - {*apart})
    said = ", ".join(f"{name} in '{groups.name}'" for name, groups in sets.items())
    kept = ", ".join(shared) or "not one"
    left = [f"in all of them, but with other posts: {', '.join(apart)}"] * bool(apart)
    left += [f"not in all of them: {', '.join(only)}"] * bool(only)
    return (
        {name: [_only(row, shared) for row in rows] for name, rows in runs.items()},
        f"The runs were counted in different groups ({said}). Compared on the groups they share: "
        f"{kept}. Not compared: {'; '.join(left) or 'nothing'}. Name one set with --groups for all "
        "of them.",
    )


def _members(rows: Sequence[Prediction]) -> dict[str, set[str]]:
    """Return the ids of each group's posts."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for name in row.groups:
            found.setdefault(name, set()).add(row.id)
    return found


def _only(row: Prediction, shared: Sequence[str]) -> Prediction:
    """Return a row with the shared groups alone; NO_SHARED for one about others only."""
    groups = tuple(name for name in shared if name in row.groups)
    return replace(row, groups=groups or ((NO_SHARED,) if row.groups else ()))
