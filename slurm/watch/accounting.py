"""What every attempt of a run took: from sacct -D, or from the run's own events without sacct.

Without -D sacct hides the attempts that were requeued, which cost as much as the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from slurm.cluster.client import Slurm
from slurm.cluster.parse import Accounted, not_understood, parse_accounting
from slurm.cluster.parse_steps import StepUse, parse_steps
from slurm.node.events import attempts
from slurm.run import submissions
from slurm.run.run_folder import RunFolder, whole_stage
from slurm.run.run_state import in_slurm, own_attempts
from slurm.run.submissions import Submitted
from slurm.watch.losses import Hours, parts_of, summed
from slurm.watch.paid_attempts import PaidAttempt, from_own_events, from_sacct

Place = tuple[str, str]
"""A cell and a stage."""


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

    by_stage: Mapping[Place, Used]
    notes: tuple[str, ...] = ()
    attempts: Mapping[Place, Sequence[PaidAttempt]] = field(default_factory=dict)
    """Each attempt once, in the order they began."""

    @property
    def total(self) -> Used:
        """All of it."""
        return sum(self.by_stage.values(), Used())

    def of_cell(self, cell: str) -> Used:
        """One cell's share."""
        return sum((used for (name, _), used in self.by_stage.items() if name == cell), Used())

    def causes(self, stage: str | None = None) -> dict[str, Hours]:
        """Return the hours by what they went into, of one stage or of all."""
        chosen = [own for (_, of), own in self.attempts.items() if stage in (None, of)]
        return summed(parts_of(own) for own in chosen)

    def waited_s(self, stage: str | None = None) -> float | None:
        """Return how long its jobs waited in the queue; None where nobody knows it of any."""
        chosen = [own for (_, of), own in self.attempts.items() if stage in (None, of)]
        known = [one.waited_s for own in chosen for one in own if one.waited_s is not None]
        return sum(known) if known else None


def costs(folder: Path, slurm: Slurm | None) -> Costs:
    """Return what each cell and stage of a run took, with all attempts of all submissions."""
    run, submitted = RunFolder(folder), submissions.read_submissions(folder)
    ids = sorted({one.job_id for one in submitted if in_slurm(one)})
    told = (slurm.accounting(ids) if slurm and ids else None) or ""
    accounted = parse_accounting(told)
    steps = parse_steps(slurm.steps(ids)) if slurm and accounted else {}
    places = [(cell, whole_stage(one.stage)) for one in submitted for cell in one.cells]
    found: dict[Place, list[PaidAttempt]] = {place: [] for place in places}
    own, counted = 0, set[tuple[str, datetime]]()
    for one, cell, job in _newest_first(submitted):
        paid, is_own = _paid(run, one, cell, job, accounted.get(job, ()), steps)
        paid = [attempt for attempt in paid if (job, attempt.began) not in counted]
        counted |= {(job, attempt.began) for attempt in paid}
        own += len(paid) * is_own
        found[cell, whole_stage(one.stage)].extend(paid)
    ordered = {place: sorted(paid, key=lambda a: a.began) for place, paid in found.items()}
    by_stage = {place: _used(paid) for place, paid in ordered.items()}
    unended = sum(used.unended for used in by_stage.values())
    notes = (*not_understood("sacct", told, accounted), *_notes(own, unended, ordered))
    return Costs(by_stage, notes, ordered)


def _paid(
    run: RunFolder, one: Submitted, cell: str, job: str, accounted: Iterable[Accounted],
    steps: Mapping[tuple[str, str], StepUse],
) -> tuple[list[PaidAttempt], bool]:  # fmt: skip
    """Return an element's attempts, and whether its own events alone tell of them."""
    events = attempts(run.attempts(cell, one.stage))
    paid = from_sacct(job, own_attempts(one, accounted), steps, events)
    return (paid, False) if paid else (from_own_events(job, events, one.gpus), True)


def _used(paid: Sequence[PaidAttempt]) -> Used:
    timed = [one for one in paid if one.timed]
    return Used(
        attempts=len(paid),
        elapsed_s=sum(one.elapsed_s for one in timed),
        gpu_hours=sum(one.gpus * one.elapsed_s for one in timed) / 3600,
        unended=len(paid) - len(timed),
    )


def _newest_first(submitted: Sequence[Submitted]) -> Iterable[tuple[Submitted, str, str]]:
    """Yield submission, cell and id of each element; of an id that came again the last is first."""
    for one in reversed(submitted):
        for index, cell in enumerate(one.cells):
            yield one, cell, one.element_id(index)


def _notes(own: int, unended: int, found: Mapping[Place, Sequence[PaidAttempt]]) -> Iterable[str]:
    if own:
        yield f"Timed by the run's own events, as sacct does not know them: {_count(own)}."
    if unended:
        yield f"Without an end (running, or killed) and not in the hours: {_count(unended)}."
    requeued = [one for paid in found.values() for one in paid if one.ended == "requeued"]
    if unseen := sum(one.work is None for one in requeued):
        yield f"Requeued without a word of how far, so all of it is work: {_count(unseen)}."


def _count(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"
