"""Submissions that were killed half way: their jobs are held, and wait for a release for ever."""

from collections.abc import Mapping

from hsd.errors import HsdError, SubmissionError
from hsd.io.lease import hold_lease
from slurm.cluster.client import CommandFailed, Slurm, programs
from slurm.cluster.orphans import wait_for_orphans
from slurm.cluster.profile import Profile
from slurm.node.events import attempts
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Begun, Submitted


def settle(run: RunFolder, slurm: Slurm | None = None, *, release: bool = True) -> list[str]:
    """Release or take back what killed submissions of a run left; return a sentence for each.

    `slurm` is by default as the run's own profile has it used.

    Where every job had what it needs the release alone was missing; without `release` such a
    submission is left as it is, for who cancels some of its jobs first. Else all of them are taken
    back, those too whose ids nobody wrote down. Raises InUseError while another process submits,
    and SubmissionError when jobs are left that could not be cancelled.
    """
    folder = run.path
    late = submissions.unanswered(folder)
    if not late and not submissions.unsettled(folder):
        return []
    slurm = slurm or programs(Profile.model_validate(run.facts()["profile"]))
    with hold_lease(folder, "a submission"):
        left = [one for one in submissions.unsettled(folder) if release or not one.complete]
        said = [_settled(run, slurm, begun) for begun in left]
    return [*said, *_late(slurm, late)]


def _settled(run: RunFolder, slurm: Slurm, begun: Begun) -> str:
    folder = run.path
    accepted = submissions.read_submissions(folder)
    known = [one for one in accepted if one.number == begun.number]
    names = {one.job_id: one.name for one in known}
    which = f"submission {begun.number} was killed half way"
    if begun.complete:
        jobs = _released(slurm, begun, names)
        submissions.note_submission(folder, released=begun.number)
        if not jobs:
            return f"{which}: none of its jobs waits any more."
        return f"{which}: released its jobs ({', '.join(jobs)})."
    wait_for_orphans(begun.comments)
    names |= slurm.strays(begun.unseen, {one.job_id for one in accepted})
    if left := slurm.take_back(begun.comments, names):
        raise SubmissionError(
            f"{which}, and its jobs are not seen to be gone; remove them: scancel {' '.join(left)}"
        )
    for one in known:
        if not _has_begun(run, one):  # what somebody released by hand has its costs
            submissions.note_submission(folder, cancelled=one.job_id)
    submissions.note_submission(folder, taken_back=begun.number)
    return f"{which}: took its jobs back."


def _has_begun(run: RunFolder, one: Submitted) -> bool:
    """Whether any element of a job has started, by its own word."""
    return any(
        event["event"] == "started" and event.get("job") == one.element_id(index)
        for index, cell in enumerate(one.cells)
        for event in attempts(run.attempts(cell, one.stage))
    )


def _released(slurm: Slurm, begun: Begun, names: Mapping[str, str]) -> list[str]:
    """Release the jobs that have not started, and return them.

    Some may have been cancelled by hand, or have run: the kill may have come later still.
    """
    waiting = slurm.waiting(begun.comments, names)
    try:
        slurm.release(waiting)
    except CommandFailed:  # one that was released before the kill may have ended a moment ago
        waiting = slurm.waiting(begun.comments, names)
        try:
            slurm.release(waiting)
        except CommandFailed:  # it says no to an array with an element that ended, and releases it
            if slurm.held(begun.comments, names):
                raise
    return waiting


def _late(slurm: Slurm, comments: list[str]) -> list[str]:
    """Cancel jobs that SLURM accepted only after their submission was taken back.

    Such as those of an sbatch on another login node. Where SLURM is silent the next command looks.
    """
    try:
        found = slurm.waiting(comments, {}) if comments else []
        if not found or slurm.take_back(comments):
            return []
    except HsdError:
        return []
    return [f"SLURM accepted a job of a killed submission late: cancelled {', '.join(found)}."]
