"""Predictions counted in other groups than those they were evaluated with; no model is needed.

A prediction keeps the groups of its evaluation and, in `persona_tag`, the names behind them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hsd.errors import EvaluationError
from hsd.groups.group_names import OTHER, NamesError
from hsd.groups.group_set import GroupSet, recorded_groups
from hsd.prediction import Prediction

EVALUATED, REPORTED = "groups", "reported_groups"
"""Keys of a manifest: the groups that posts were read with, and those of the last report."""


def evaluated_groups(manifest: Mapping[str, Any]) -> GroupSet:
    """Return the groups that a run's predictions name."""
    return recorded_groups(manifest.get(EVALUATED))


def reported_groups(manifest: Mapping[str, Any]) -> GroupSet:
    """Return the groups that a run was last reported with."""
    return recorded_groups(manifest.get(REPORTED) or manifest.get(EVALUATED))


def regrouped(rows: Sequence[Prediction], before: GroupSet, groups: GroupSet) -> list[Prediction]:
    """Return predictions that named the groups of `before` with those of another set.

    Raises EvaluationError for a name that looks like a misspelt one.
    """
    if before.digest == groups.digest:
        return list(rows)
    try:
        return [replace(row, groups=groups.regrouped(row.groups, row.persona_tag)) for row in rows]
    except NamesError as error:
        raise EvaluationError(f"groups '{groups.name}': {error}") from None


def grouped_as(rows: Sequence[Prediction], like: Sequence[Prediction]) -> list[Prediction]:
    """Return predictions with the groups that another run of the same posts gives them."""
    groups = {row.id: row.groups for row in like}
    return [replace(row, groups=groups.get(row.id, row.groups)) for row in rows]


def on_shared_groups(
    runs: Mapping[str, Sequence[Prediction]], sets: Mapping[str, GroupSet]
) -> tuple[dict[str, list[Prediction]], str | None]:
    """Return runs with the groups alone that all of them have, and a sentence on the others.

    A group is shared where the same names put a post into it. None where all groups are alike.
    """
    first, *others = sets.values()
    if all(other.digest == first.digest for other in others):
        return {name: list(rows) for name, rows in runs.items()}, None
    shared = [
        name
        for name in first.names
        if all(
            name in other.names and other.spellings(name) == first.spellings(name)
            for other in others
        )
    ]
    left = sorted({name for one in sets.values() for name in one.names} - set(shared))
    said = ", ".join(f"{name} in '{groups.name}'" for name, groups in sets.items())
    kept = ", ".join(shared) or "none"
    return (
        {name: [_only(row, shared) for row in rows] for name, rows in runs.items()},
        f"The runs were counted in different groups ({said}). Compared on the groups they share: "
        f"{kept}; not compared: {', '.join(left)}. Name one set with --groups for all of them.",
    )


def _only(row: Prediction, shared: Sequence[str]) -> Prediction:
    """Return a row with the shared groups alone; one about others only is about `other`."""
    groups = tuple(name for name in shared if name in row.groups)
    return replace(row, groups=groups or ((OTHER,) if row.groups else ()))
