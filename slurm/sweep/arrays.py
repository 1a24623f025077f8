"""The arrays of a stage: an array has no more elements than the cluster takes in one. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace

from slurm.cluster.profile import Profile, SlurmConfig, StageConfig
from slurm.cluster.stage_config import ASKS_FOR
from slurm.sweep.stage import Edge, Stage, Task


def arrays(
    of: str, tasks: Sequence[Task], profile: Profile, before: Sequence[Stage] = ()
) -> list[Stage]:
    """Return arrays of the tasks: those behind each array of the stage `before`, and those ready.

    Element i of an array waits for element i of the other, so the two hold the same cells in the
    same order.
    """
    slurm = profile.slurm
    most = slurm.max_array_size if slurm else None
    resources: StageConfig = getattr(profile.stages, ASKS_FOR.get(of, of))
    left = {task.cell: task for task in tasks}
    parts: list[tuple[list[Task], tuple[Edge, ...]]] = []
    for earlier in before:
        behind = [left.pop(task.cell) for task in earlier.tasks if task.cell in left]
        parts += [(behind, (Edge("aftercorr", earlier.name),))] if behind else []
    parts += [(part, ()) for part in _parts(list(left.values()), most)]
    made = [
        Stage(of if number == 1 else f"{of}.{number}", of, tuple(part), resources, after)
        for number, (part, after) in enumerate(parts, start=1)
    ]
    return _throttled(made, slurm) if slurm else made


def _parts(tasks: list[Task], most: int | None) -> list[list[Task]]:
    """Return the tasks in as few parts as there can be, about equally large."""
    if not tasks:
        return []
    size = math.ceil(len(tasks) / math.ceil(len(tasks) / (most or len(tasks))))
    return [tasks[first : first + size] for first in range(0, len(tasks), size)]


def _throttled(made: list[Stage], slurm: SlurmConfig) -> list[Stage]:
    """Return the arrays with shares of the limit, which is of all cells of the stage.

    SLURM limits each array by itself. With more arrays than cells may run at once, an array waits
    until one before it has ended: one that surely ends.
    """
    limit = slurm.array_parallelism
    if limit is None or not made:
        return made
    lanes = min(limit, len(made))
    shares = [1] * lanes
    for _ in range(limit - lanes):
        most = max(range(lanes), key=lambda lane: len(made[lane].tasks) / shares[lane])
        shares[most] += 1
    return [
        replace(
            stage, at_once=shares[at % lanes], after=(*stage.after, *_waits(made, at, lanes, slurm))
        )
        for at, stage in enumerate(made)
    ]


def _waits(made: list[Stage], at: int, lanes: int, slurm: SlurmConfig) -> tuple[Edge, ...]:
    """Return what an array waits for beside the training of its own cells.

    Where SLURM does not drop what can never start, an evaluation behind a failed training never
    ends. What waited for its array would never start: the waits of the trainings have to do.
    """
    if at < lanes:
        return ()
    before = made[at - lanes]
    ends = slurm.kill_on_invalid_dep or slurm.requeue == "chain" or not before.after
    return (Edge("afterany", before.name),) if ends else ()
