"""Nodes on which a run's jobs failed because of the node, and which of them are excluded.

The run's folder keeps a line for each failure, each exclusion and each time a person allows a node
again; what counts is what came after the last of those.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError
from slurm.node.events import append_line, read_lines
from slurm.run.element_state import Element
from slurm.run.run_folder import RunFolder
from slurm.watch.causes import cause
from slurm.watch.log_files import last_words

ENOUGH = 2
"""Different cells that fail on one node because of the node, before it is excluded by itself. One
may be chance; a node that lost its GPU fails every job within seconds, so it draws the next."""
_OF_A_DISK = re.compile(
    r"no space left on|ENOSPC|read-only file system|EROFS|input/output error|\bEIO\b", re.IGNORECASE
)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """One job that failed because of its node."""

    node: str
    cell: str
    job: str
    why: str

    def event(self) -> dict[str, Any]:
        """Return the line that the run's folder keeps."""
        return {
            "event": "failed", "node": self.node, "cell": self.cell, "job": self.job,
            "why": self.why,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExcludedNode:
    """A node that a run's jobs no longer go to."""

    node: str
    cells: tuple[str, ...]
    why: str

    def sentence(self, run: str) -> str:
        """Say that it is excluded, why, and how it is allowed again."""
        return (
            f"Node {self.node} is excluded: {self.why} ({', '.join(self.cells)}); `hsd resubmit "
            f"{run} --allow-node {self.node}` uses it again."
        )


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """Which nodes a submission excludes, and the lines that the run's folder gets for it."""

    excluded: tuple[ExcludedNode, ...] = ()
    events: tuple[dict[str, Any], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes, as sbatch takes them."""
        return tuple(one.node for one in self.excluded)


def node_failures(folder: RunFolder, elements: Iterable[Element]) -> list[NodeFailure]:
    """Return the jobs of a run that failed because of the one node that they were on.

    A run on this machine has no choice of nodes.
    """
    found = []
    for one in elements:
        in_slurm = one.job.partition("_")[0].isdigit()
        if one.state != "failed" or not in_slurm or not _is_one(one.node):
            continue
        said = last_words(folder, one)
        known = cause(one, said)
        if known is not None and known.of_node and not _is_shared(said, folder):
            found.append(NodeFailure(one.node, one.cell, one.job, known.words))
    return found


def well_nodes(elements: Iterable[Element]) -> set[str]:
    """Return the nodes on which jobs of a run have ended well, or are at work."""
    return {one.node for one in elements if one.node and one.state in ("done", "running")}


def choose_nodes(
    events: Sequence[Event],
    failures: Iterable[NodeFailure],
    *,
    all_failed: bool = False,
    allowed: Sequence[str] = (),
    well: Collection[str] = (),
) -> NodeChoice:
    """Return which nodes are excluded, by what the folder knows and what has failed since.

    A node is excluded once `ENOUGH` different cells failed on it, or after one failure where
    `all_failed` asks for that, until a person allows it. Where several nodes fail and none is
    `well`, it is not the nodes but what they all have: the environment, or a shared disk. Then none
    is excluded by itself. A node that would be excluded itself does not count as `well`.

    Raises PreflightError for an allowed node that is not excluded.
    """
    seen = {event.get("job") for event in events if event.get("event") == "failed"}
    new: list[dict[str, Any]] = [one.event() for one in failures if one.job not in seen]
    before = {one.node for one in _excluded_nodes([*events, *new], all_failed=all_failed)}
    for node in allowed:
        if node not in before:
            known = ", ".join(sorted(before)) or "none"
            raise PreflightError(f"--allow-node {node}: it is not excluded; excluded: {known}.")
        new.append({"event": "allowed", "node": node})
    said, failed = _names(events), _failed([*events, *new])
    # One failure may be chance, so a node that has ended jobs well tells nothing by it.
    suspects = {node for node, (cells, _) in failed.items() if len(cells) >= ENOUGH}
    is_everywhere = len(failed) > 1 and not set(well) - suspects
    excluded = [
        one
        for one in _excluded_nodes([*events, *new], all_failed=all_failed)
        if all_failed or one.node in said or not is_everywhere
    ]
    new += [{"event": "excluded", "node": n.node} for n in excluded if n.node not in said]
    return NodeChoice(tuple(excluded), tuple(new))


def excluded_nodes(folder: RunFolder) -> list[ExcludedNode]:
    """Return the nodes that a run's submissions excluded and nobody has allowed again."""
    events = node_events(folder.path)
    said = _names(events)
    return [one for one in _excluded_nodes(events, all_failed=True) if one.node in said]


def node_events(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's folder about nodes."""
    return [line for line in read_lines(_file(folder)) if line.get("node")]


def remember_nodes(folder: Path, choice: NodeChoice) -> None:
    """Write a choice into the run's folder."""
    for event in choice.events:
        append_line(_file(folder), event)


def _is_shared(said: str, folder: RunFolder) -> bool:
    """Whether the disk that is full or broken is the one that all nodes have the run on."""
    found = [line for line in said.splitlines() if _OF_A_DISK.search(line)]
    return any(str(folder.path.parent) in line for line in found)


def _is_one(nodes: str) -> bool:
    """Whether a job's nodes are one: of several, nobody knows which failed."""
    return bool(nodes) and not any(sign in nodes for sign in "[,")


def _file(folder: Path) -> Path:
    return folder / "nodes.jsonl"


def _excluded_nodes(events: Sequence[Event], *, all_failed: bool) -> list[ExcludedNode]:
    said, failed = _names(events), _failed(events)
    enough = 1 if all_failed else ENOUGH
    return [
        ExcludedNode(node, cells, why)
        for node, (cells, why) in failed.items()
        if node in said or len(cells) >= enough
    ]


def _names(events: Iterable[Event]) -> set[str]:
    found: set[str] = set()
    for event in events:
        if event["event"] == "excluded":
            found.add(event["node"])
        elif event["event"] == "allowed":
            found.discard(event["node"])
    return found


def _failed(events: Iterable[Event]) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return the cells that failed on each node since it was last allowed, and the last reason."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for event in events:
        node = event["node"]
        if event["event"] == "allowed":
            found.pop(node, None)
        elif event["event"] == "failed":
            cells, _ = found.get(node, ((), ""))
            found[node] = tuple(dict.fromkeys([*cells, event["cell"]])), event["why"]
    return found
