"""Cancel a run or a cell from the leaves, so that nothing starts because something else ended."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hsd.errors import PreflightError
from slurm.cluster.client import ClusterError, CommandFailed, Slurm
from slurm.cluster.parse import parse_queue
from slurm.node.events import record
from slurm.run import submissions
from slurm.run.element_state import NEVER, Element
from slurm.run.run_folder import RunFolder, whole_stage
from slurm.run.run_state import ORDER, RunState, SchedulerAnswers, in_slurm, states

_THREADS = 16


def cancel(
    folder: Path, slurm: Slurm | None, cell: str | None = None, *, stuck: bool = False
) -> list[Element]:
    """Cancel what waits or runs, of one cell or of all; return it in the order it was cancelled.

    `stuck` takes only what can never start. Only jobs that are this very run's are touched, and
    only what the queue shows to be gone counts as cancelled. Raises PreflightError for a run that
    is in no queue, ClusterError when the queue cannot be asked, and CommandFailed for jobs that are
    still there.
    """
    if slurm is None:
        if submissions.submission_lines(folder) and not submissions.read_submissions(folder):
            return []  # every job was taken back
        raise PreflightError(
            f"{folder.name} is in no queue; a run with --local ends with Ctrl-C where it runs."
        )
    state = states(folder, slurm, earlier=True)
    if not state.asked:
        why = " ".join(state.notes) or f"{folder.name}: nothing was submitted."
        raise ClusterError(f"{why} Nothing was cancelled.")
    chosen = to_cancel(state, cell, stuck=stuck)
    for stage in reversed(ORDER):
        ours = [one for one in chosen if whole_stage(one.stage) == stage]
        slurm.cancel([one.job for one in ours])
        _confirm(folder, slurm, ours)
        _record(RunFolder(folder), ours)
    return chosen


def cancel_replaced_comparisons(folder: Path, slurm: Slurm) -> None:
    """Cancel comparisons that wait although a newer one does, which waits for all that they do.

    Where SLURM does not answer they stay, run before the newer one, and do no harm.
    """
    before = {
        one.element_id(index): one
        for one, index in submissions.replaced(submissions.read_submissions(folder))
        if one.kind == "compare" and in_slurm(one)
    }
    with suppress(ClusterError, CommandFailed):
        queue = parse_queue(slurm.queue({one.job_id for one in before.values()}))
        asked = SchedulerAnswers(queue)
        told = {job: asked.queued(one, job) for job, one in before.items()}
        slurm.cancel(job for job, found in told.items() if found and found.state == "PENDING")


def _record(run: RunFolder, cancelled: Sequence[Element]) -> None:
    """Write into each element's events that it was cancelled; several at once wait for the disk."""

    def one(element: Element) -> None:
        record(run.attempts(element.cell, element.stage), "cancelled", job=element.job)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(one, cancelled))


def _confirm(folder: Path, slurm: Slurm, wanted: Sequence[Element]) -> None:
    """Wait until none of the elements waits or runs any more. Raises CommandFailed if one does."""
    names = {one.job for one in wanted}
    left = names
    for wait_s in slurm.waits_s if names else ():
        time.sleep(wait_s)
        state = states(folder, slurm, earlier=True)
        if state.asked:
            left = names & {one.job for one in state.elements if one.live and not one.leaving}
        if not left:
            return
    if left:
        raise CommandFailed(
            "scancel", None, f"{' '.join(sorted(left))}: not seen to be gone; try again in a minute"
        )


def to_cancel(state: RunState, cell: str | None, *, stuck: bool) -> list[Element]:
    """Return what is to be cancelled, the comparison first and the trainings last."""
    found = [
        one
        for one in state.elements
        if one.live and cell in (None, one.cell) and (one.reason == NEVER or not stuck)
    ]
    return sorted(found, key=lambda one: -ORDER.index(whole_stage(one.stage)))
