"""Whether the nodes that a run excludes leave enough others: with numbers, which sbatch lacks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hsd.checks import Check
from hsd.counted import counted
from slurm.cluster.client import Slurm
from slurm.cluster.profile import SlurmConfig
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.stage import Stage

NODE_FORMAT = "%P|%N|%T"
"""Partition (the default one ends in *), node, state: a line for each node of each partition."""
_GONE = ("down", "drain", "fail", "unknown", "maint", "future", "power")


@dataclass(frozen=True, slots=True)
class PartitionNode:
    """A node in a partition."""

    partition: str
    default: bool
    name: str
    state: str

    @property
    def works(self) -> bool:
        """Whether SLURM would start a job there, now or when another one ends."""
        return not self.state.endswith("*") and not self.state.startswith(_GONE)


def nodes_left(name: str, stage: Stage, prepared: SubmissionBundle, slurm: Slurm) -> Check | None:
    """Return, as a check of this name, that a stage has too few nodes; None where it has enough."""
    config = prepared.profile.slurm
    if config is None or not config.exclude:
        return None
    known = partition_nodes(slurm.text("sinfo", "-h", "-N", "-o", NODE_FORMAT), stage, config)
    excluded = slurm.text("scontrol", "show", "hostnames", config.exclude).split()
    return too_few(name, stage.resources.nodes, known, excluded, prepared.plan.name)


def partition_nodes(text: str, stage: Stage, config: SlurmConfig) -> list[PartitionNode]:
    """Return the nodes of a stage's partition in sinfo's lines of NODE_FORMAT, each once."""
    rows = [line.strip().split("|") for line in text.splitlines()]
    known = [
        PartitionNode(row[0].rstrip("*"), row[0].endswith("*"), row[1], row[2].lower())
        for row in rows
        if len(row) == 3
    ]
    wanted = (stage.resources.partition or config.partition or "").split(",")
    ours = [one for one in known if one.partition in wanted or (wanted == [""] and one.default)]
    return list({one.name: one for one in ours}.values())


def too_few(
    name: str, needed: int, known: Sequence[PartitionNode], excluded: Collection[str], run: str
) -> Check | None:
    """Return what is wrong where fewer nodes than needed are neither excluded nor out of order.

    Of a partition that sinfo does not show nothing is known, and sbatch speaks for itself.
    """
    left = [one for one in known if one.name not in excluded]
    if not known or sum(one.works for one in left) >= needed:
        return None
    out = len(known) - len(left)
    line = (
        f"{out} of the {counted(len(known), 'node')} of partition {known[0].partition} are excluded"
    )
    if len(left) < needed:
        fix = f"`hsd resubmit {run} --allow-node NODE` uses one again; see exclude in the profile"
        return Check(name, False, f"{line}, and a job needs {counted(needed, 'node')}", fix)
    states = ", ".join(f"{one.name} is {one.state}" for one in left if not one.works)
    return Check(name, None, f"{line}, and {states}: jobs wait until it is back")
