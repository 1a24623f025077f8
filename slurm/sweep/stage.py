"""A stage of a sweep as pure data: what its elements do, on what, and what it waits for."""

from dataclasses import dataclass

from slurm.cluster.profile import StageConfig


@dataclass(frozen=True, slots=True)
class Task:
    """One element of an array: hsd's commands, run one after another; all must end with 0."""

    cell: str
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """What a stage waits for. `kind` is SLURM's: aftercorr, afterany, afterok, afternotok."""

    kind: str
    stage: str
    """A stage's name, or the id of a job of before."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One job array."""

    name: str
    """Its own: `train`; its second array is `train.2`, the second attempt of a chain `train-2`."""
    of: str
    """What it does to a cell: one of STAGES."""
    tasks: tuple[Task, ...]
    resources: StageConfig
    after: tuple[Edge, ...] = ()
    at_once: int | None = None
    """How many of its elements may run at once; None: no limit."""

    @property
    def gpu_hours(self) -> float:
        """The most that it can use: every element to its time limit, once."""
        one = self.resources.gpus * self.resources.nodes * self.resources.time_min / 60
        return one * len(self.tasks)
