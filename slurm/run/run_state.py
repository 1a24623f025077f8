"""How a run stands: one squeue and one sacct for all of it, and the run's own files."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hsd.errors import PreflightError
from hsd.io.json_reader import read_object
from slurm.cluster.client import ClusterError, CommandFailed, Slurm
from slurm.cluster.parse import Accounted, Queued, not_understood, parse_accounting, parse_queue
from slurm.node.events import attempts
from slurm.run import submissions
from slurm.run.element_state import (
    LIVE,
    NOT_SUBMITTED,
    Element,
    ElementFacts,
    element,
    shown_element,
)
from slurm.run.job_ownership import is_own, is_own_attempt
from slurm.run.run_folder import ALL, RunFolder, whole_stage
from slurm.run.submissions import Submitted

ORDER = ("train", "merge", "evaluate", "baseline", "predict", "gate", "compare")
"""Stages in the order of the work, those of `hsd submit` too."""


@dataclass(frozen=True)
class RunState:
    """All elements of a run. `notes` say what could not be asked, `asked` whether squeue was."""

    folder: RunFolder
    elements: tuple[Element, ...]
    notes: tuple[str, ...] = ()
    asked: bool = False

    @cached_property  # it reads run.json, which holds all cells
    def cells(self) -> list[str]:
        """The sweep's cells in its order, then whatever else was submitted; `all` last."""
        names = dict.fromkeys([*self.folder.cell_names(), *(e.cell for e in self.elements)])
        return sorted(names, key=lambda name: name == ALL)

    def of(self, cell: str) -> dict[str, Element]:
        """Return how one cell stands in each stage that it has, in the order of the work."""
        return self._by_cell.get(cell, {})

    @cached_property  # looked up for every cell: 1,000 cells have 2,000 elements
    def _by_cell(self) -> dict[str, dict[str, Element]]:
        found: dict[str, dict[str, list[Element]]] = {}
        for one in self.elements:
            found.setdefault(one.cell, {}).setdefault(whole_stage(one.stage), []).append(one)
        return {
            cell: {stage: shown_element(stages[stage]) for stage in sorted(stages, key=_place)}
            for cell, stages in found.items()
        }

    def overall(self, cell: str) -> str:
        """Return one word for a whole cell: what is worst, then what still goes on, then done."""
        words = [one.state for one in self.of(cell).values()] or [NOT_SUBMITTED]
        order = ("failed", "unknown", *LIVE, "cancelled", "done")
        return min(words, key=lambda word: order.index(word) if word in order else 1)

    @property
    def shown(self) -> list[Element]:
        """Return the elements that tell how the run stands: one for each cell and stage."""
        return [one for cell in self.cells for one in self.of(cell).values()]


@dataclass(frozen=True, slots=True)
class SchedulerAnswers:
    """What SLURM said of some jobs. `queue` is None when squeue told nothing that can be read."""

    queue: dict[str, Queued] | None = None
    accounting: dict[str, tuple[Accounted, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def queued(self, one: Submitted, element: str) -> Queued | None:
        """Return what squeue says of an element, unless its id is another job's by now."""
        found = (self.queue or {}).get(element)
        return found if found and is_own(one, found) else None

    def attempts(self, one: Submitted, element: str) -> tuple[Accounted, ...]:
        """Return what sacct says of an element, without other jobs that have had its id."""
        return own_attempts(one, self.accounting.get(element, ()))


def own_attempts(one: Submitted, accounted: Iterable[Accounted]) -> tuple[Accounted, ...]:
    """Return the attempts that are of this submission."""
    return tuple(told for told in accounted if is_own_attempt(one, told, told.submit))


def slurm_of(folder: RunFolder) -> Slurm | None:
    """Return SLURM's programs for a run; None for one that has no job in a queue."""
    ours = [one for one in submissions.read_submissions(folder.path) if in_slurm(one)]
    if not ours:
        return None
    profile: dict[str, Any] = folder.facts().get("profile") or {}
    extra = (profile.get("slurm") or {}).get("extra") or {}
    return Slurm(
        keep=tuple((profile.get("env") or {}).get("pass") or ()),
        cluster=ours[-1].cluster or extra.get("clusters", ""),
    )


def in_slurm(submitted: Submitted) -> bool:
    """Whether a scheduler has it; a run on this machine writes the same lines with other ids."""
    return submitted.job_id.isdigit()


def states(folder: Path, slurm: Slurm | None, *, earlier: bool = False) -> RunState:
    """Return how a run stands; without SLURM from its own files alone.

    With `earlier` also what newer submissions did not take out of the queue: each submission has a
    comparison of its own.
    """
    run = RunFolder(folder)
    known = submissions.read_submissions(folder)
    newest = submissions.newest(known)
    before = submissions.replaced(known) if earlier else []
    ours = [*newest.values(), *before]
    asked = ask_scheduler(slurm, {submitted.job_id for submitted, _ in ours if in_slurm(submitted)})
    strange = strangers(asked, ours)
    elements = [
        element(stage, cell, _known(run, stage, cell, asked, submitted, index))
        for (stage, cell), (submitted, index) in newest.items()
    ]
    elements += [_replaced(run, asked, submitted, index) for submitted, index in before]
    covered = {(whole_stage(stage), cell) for stage, cell in newest}
    elements += [
        element(stage, cell, _known(run, stage, cell, asked))
        for stage, cell in _on_disk(run)
        if (stage, cell) not in covered
    ]
    return RunState(run, tuple(elements), (*asked.notes, *strange), asked.queue is not None)


def strangers(asked: SchedulerAnswers, submitted: Iterable[tuple[Submitted, int]]) -> list[str]:
    """Return a sentence for each id of the run that is another job's in the queue by now."""
    found = {
        one.job_id: told
        for one, index in submitted
        if (told := (asked.queue or {}).get(one.element_id(index))) and not is_own(one, told)
    }
    return [
        f"{job} is another job by now ({told.name or 'without a name'} of {told.user}), not this "
        "run's; it is left alone."
        for job, told in found.items()
    ]


def ask_scheduler(slurm: Slurm | None, jobs: Iterable[str]) -> SchedulerAnswers:
    """Ask squeue and sacct once each; what does not answer is noted, and is no error."""
    ids = sorted(jobs)
    if slurm is None or not ids:
        return SchedulerAnswers()
    notes = []
    queue: dict[str, Queued] | None = None
    try:
        said = slurm.queue(ids)
        queue = parse_queue(said)
        if unread := not_understood("squeue", said, queue):
            notes, queue = unread, None  # jobs that nobody could read are not gone
    except (ClusterError, CommandFailed) as error:
        notes.append(f"SLURM does not answer, so this is from the run's own files ({error}).")
    told = slurm.accounting(ids)
    if told is None and queue is not None:
        notes.append(
            "sacct does not answer: what the queue has forgotten is known by its files alone."
        )
    accounted = parse_accounting(told or "")
    notes += not_understood("sacct", told or "", accounted)
    return SchedulerAnswers(queue, accounted, tuple(notes))


def _known(
    run: RunFolder,
    stage: str,
    cell: str,
    asked: SchedulerAnswers,
    submitted: Submitted | None = None,
    index: int = 0,
) -> ElementFacts:
    job = submitted.element_id(index) if submitted else ""
    return ElementFacts(
        submitted=submitted,
        index=index,
        done_at=_done_at(run.done(cell, stage)),
        events=attempts(run.attempts(cell, stage)),
        queued=asked.queued(submitted, job) if submitted else None,
        accounted=asked.attempts(submitted, job) if submitted else (),
        asked=asked.queue is not None and bool(submitted and in_slurm(submitted)),
    )


def _replaced(run: RunFolder, asked: SchedulerAnswers, submitted: Submitted, index: int) -> Element:
    """Return an element that was submitted anew; the marker is of the newer one."""
    stage, cell = submitted.stage, submitted.cells[index]
    known = _known(run, stage, cell, asked, submitted, index)
    return element(stage, cell, replace(known, done_at=None))


def _done_at(marker: Path) -> str | None:
    """Return when a stage was finished; None when it was not."""
    if not marker.exists():
        return None
    try:
        content = read_object(marker)
    except PreflightError:  # removed by a resubmission at this moment, or another's file
        return None
    return str(content.get("at", ""))


def _on_disk(run: RunFolder) -> list[tuple[str, str]]:
    """Return stage and cell of everything that left events or a marker: a local run has no more."""
    events = [(p.stem, p.parent.parent.name) for p in run.cells.glob("*/attempts/*.jsonl")]
    markers = [
        (p.name.removesuffix(".done.json"), p.parent.name) for p in run.cells.glob("*/*.done.json")
    ]
    return sorted(dict.fromkeys([*events, *markers]), key=lambda pair: (pair[1], _place(pair[0])))


def _place(stage: str) -> int:
    return ORDER.index(stage) if stage in ORDER else len(ORDER)
