"""A run's states with all that explains them: how far what runs is, why what failed did so."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsd.counted import counted
from slurm.cluster.client import Slurm
from slurm.run.element_state import NOT_SUBMITTED, Element
from slurm.run.run_folder import ALL, RunFolder, whole_stage
from slurm.run.run_state import ORDER, states
from slurm.run.submissions import unsettled
from slurm.watch.causes import Cause, cause
from slurm.watch.failed_nodes import excluded_nodes
from slurm.watch.log_files import TAIL_BYTES, last_words
from slurm.watch.stage_progress import StageProgress, stage_progress

_FEW = 20
"""Where more have failed, less of each log is searched: 200 whole tails took 14 s."""
_UNDER_WAY = ("running", "stopping", "requeued")


@dataclass(frozen=True, slots=True)
class Line:
    """One cell in one stage."""

    element: Element
    progress: StageProgress | None = None
    cause: Cause | None = None

    @property
    def stage(self) -> str:
        """The stage, whichever attempt of a chain it is."""
        return whole_stage(self.element.stage)

    @property
    def place(self) -> int:
        """Where its stage stands in the order of the work."""
        return ORDER.index(self.stage) if self.stage in ORDER else len(ORDER)


@dataclass(frozen=True, slots=True)
class Overview:
    """How a run stands. `states` has a word for each cell, in the sweep's order."""

    name: str
    folder: str
    lines: tuple[Line, ...]
    states: Mapping[str, str]
    notes: tuple[str, ...] = ()
    live: bool = False
    """Whether something still comes."""
    shards: int = 1
    """How many elements share one command's rows; its lines are theirs."""


def overview(folder: Path, slurm: Slurm | None, run: str, sweep: str) -> Overview:
    """Return how a run stands; `run` and `sweep` are what a person types for it."""
    state = states(folder, slurm)
    sets = _sets(state.folder)
    shown = state.shown
    failed = sum(one.state == "failed" for one in shown)
    size = TAIL_BYTES if failed <= _FEW else TAIL_BYTES // 10
    killed = frozenset(one.number for one in unsettled(folder))
    lines = tuple(_line(state.folder, one, run, sweep, sets, size, killed) for one in shown)
    compared = bool(state.of(ALL))
    words = {cell: state.overall(cell) for cell in state.cells if cell != ALL or compared}
    shards = state.folder.facts().get("shards") or 1
    unsent = sum(word == NOT_SUBMITTED for word in words.values())
    later = _not_submitted(counted(unsent, "shard" if shards > 1 else "cell"), unsent, run)
    return Overview(
        name=state.folder.name,
        folder=str(folder),
        lines=lines,
        states=words,
        notes=(*state.notes, *later, *(one.sentence(run) for one in excluded_nodes(state.folder))),
        live=any(line.element.live for line in lines),
        shards=shards,
    )


def _line(
    folder: RunFolder,
    element: Element,
    run: str,
    sweep: str,
    sets: int,
    size: int,
    killed: Collection[int],
) -> Line:
    said = last_words(folder, element, size) if element.state == "failed" else ""
    found = stage_progress(folder, element, sets) if element.state in _UNDER_WAY else None
    goes_on = element.state == "running"
    return Line(
        element=element,
        progress=found if goes_on or found is None else found.stands,
        cause=cause(element, said, run, sweep, killed),
    )


def _not_submitted(what: str, count: int, run: str) -> list[str]:
    """Return the sentence about what did not fit into the queue, with what to type."""
    if not count:
        return []
    are = "is" if count == 1 else "are"
    return [f"{what} {are} not submitted yet. Submit more: hsd resubmit {run}"]


def _sets(folder: RunFolder) -> int:
    """Return how many sets each cell is evaluated on."""
    sweep = folder.facts().get("sweep") or {}
    return len((sweep.get("evaluate") or {}).get("sets") or ("",))
