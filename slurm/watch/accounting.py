"""GPU-hours of every attempt: from sacct -D, or from a run's own events where it does not answer.

Without -D sacct hides the attempts that were requeued, which cost as much as the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from slurm.cluster.client import Slurm
from slurm.cluster.parse import Accounted, not_understood, parse_accounting
from slurm.node.events import attempts
from slurm.run import submissions
from slurm.run.run_folder import RunFolder, whole_stage
from slurm.run.run_state import in_slurm, own_attempts
from slurm.run.submissions import Submitted

_END = {"requeued", "stopped", "ended"}


@dataclass(frozen=True, slots=True)
class Used:
    """What one or more attempts took. `unended` are those whose end nobody wrote down."""

    attempts: int = 0
    elapsed_s: float = 0.0
    gpu_hours: float = 0.0
    unended: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.attempts + other.attempts,
            self.elapsed_s + other.elapsed_s,
            self.gpu_hours + other.gpu_hours,
            self.unended + other.unended,
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run took, by cell and stage, of all its submissions. `notes` say how it is known."""

    by_stage: Mapping[tuple[str, str], Used]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Used:
        """All of it."""
        return sum(self.by_stage.values(), Used())

    def of_cell(self, cell: str) -> Used:
        """One cell's share."""
        return sum((used for (name, _), used in self.by_stage.items() if name == cell), Used())


def costs(folder: Path, slurm: Slurm | None) -> Costs:
    """Return what each cell and stage of a run took, with all attempts of all submissions."""
    run, submitted = RunFolder(folder), submissions.read_submissions(folder)
    ids = [one.job_id for one in submitted if in_slurm(one)]
    told = slurm.accounting(ids) if slurm and ids else None
    accounted = parse_accounting(told or "")
    by_stage: dict[tuple[str, str], Used] = {}
    own = 0
    for one, cell, job in _elements(submitted):
        used = from_accounting(own_attempts(one, accounted.get(job, ())))
        if not used.attempts:
            used = from_events(attempts(run.attempts(cell, one.stage)), job, one.gpus)
            own += used.attempts
        key = (cell, whole_stage(one.stage))
        by_stage[key] = by_stage.get(key, Used()) + used
    notes = _notes(own, sum(used.unended for used in by_stage.values()))
    return Costs(by_stage, (*not_understood("sacct", told or "", accounted), *notes))


def from_accounting(accounted: Iterable[Accounted]) -> Used:
    """Return what the attempts that got any resources took."""
    held = [one for one in accounted if one.start and one.gpus is not None]
    return Used(
        attempts=len(held),
        elapsed_s=sum(one.elapsed_s for one in held),
        gpu_hours=sum((one.gpus or 0) * one.elapsed_s for one in held) / 3600,
    )


def from_events(events: Sequence[Mapping[str, Any]], job: str, gpus: int) -> Used:
    """Return what a job's own events tell: from each start to the word of its end.

    An attempt without one, as on a node that died, is counted but not timed.
    """
    used, began = Used(), None
    for event in (e for e in events if e.get("job") == job):
        if event["event"] == "started":
            used += Used(attempts=1, unended=1)
            began = event["at"]
        elif event["event"] in _END and began is not None:
            took_s = (_time(event["at"]) - _time(began)).total_seconds()
            used += Used(elapsed_s=took_s, gpu_hours=gpus * took_s / 3600, unended=-1)
            began = None
    return used


def _elements(submitted: Iterable[Submitted]) -> Iterable[tuple[Submitted, str, str]]:
    for one in submitted:
        for index, cell in enumerate(one.cells):
            yield one, cell, one.element_id(index)


def _notes(own: int, unended: int) -> Iterable[str]:
    if own:
        yield f"Timed by the run's own events, as sacct does not know them: {_count(own)}."
    if unended:
        yield f"Without an end (running, or killed) and not in the hours: {_count(unended)}."


def _count(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at)
