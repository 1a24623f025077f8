"""Submissions that were killed half way: their jobs are held, and wait for a release for ever."""

from pathlib import Path

from hsd.errors import HsdError, SubmissionError
from hsd.io.lease import hold_lease
from slurm.cluster.client import CommandFailed, Slurm, programs
from slurm.cluster.orphans import wait_for_orphans
from slurm.cluster.profile import Profile
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Begun


def settle(run: RunFolder, slurm: Slurm | None = None, *, release: bool = True) -> list[str]:
    """Release or take back what killed submissions of a run left; return a sentence for each.

    `slurm` is by default as the run's own profile has it used. Without `release` all is taken back.

    Where every job had what it needs the release alone was missing. Else all of them are taken
    back, those too whose ids nobody wrote down. Raises InUseError while another process submits,
    and SubmissionError when jobs are left that could not be cancelled.
    """
    folder = run.path
    late = submissions.unanswered(folder)
    if not late and not submissions.unsettled(folder):
        return []
    slurm = slurm or programs(Profile.model_validate(run.facts()["profile"]))
    with hold_lease(folder, "a submission"):
        left = submissions.unsettled(folder)
        said = [_settled(folder, slurm, begun, release=release) for begun in left]
    return [*said, *_late(slurm, late)]


def _settled(folder: Path, slurm: Slurm, begun: Begun, *, release: bool) -> str:
    jobs = [
        one.job_id for one in submissions.read_submissions(folder) if one.number == begun.number
    ]
    which = f"submission {begun.number} was killed half way"
    if begun.complete and release:
        jobs = _released(slurm, begun, jobs)
        submissions.note_submission(folder, released=begun.number)
        return f"{which}: released its jobs ({', '.join(jobs) or 'none waits any more'})."
    wait_for_orphans(begun.comments)
    if left := slurm.take_back(begun.comments, jobs):
        raise SubmissionError(
            f"{which}, and its jobs are not seen to be gone; remove them: scancel {' '.join(left)}"
        )
    for job in jobs:
        submissions.note_submission(folder, cancelled=job)
    submissions.note_submission(folder, taken_back=begun.number)
    return f"{which}: took its jobs back."


def _released(slurm: Slurm, begun: Begun, jobs: list[str]) -> list[str]:
    """Release the jobs that have not started, and return them.

    Some may have been cancelled by hand, or have run: the kill may have come later still.
    """
    waiting = slurm.waiting(begun.comments, jobs)
    try:
        slurm.release(waiting)
    except CommandFailed:  # one that was released before the kill may have ended a moment ago
        waiting = slurm.waiting(begun.comments, jobs)
        slurm.release(waiting)
    return waiting


def _late(slurm: Slurm, comments: list[str]) -> list[str]:
    """Cancel jobs that SLURM accepted only after their submission was taken back.

    Such as those of an sbatch on another login node. Where SLURM is silent the next command looks.
    """
    try:
        found = slurm.waiting(comments, ()) if comments else []
        if not found or slurm.take_back(comments):
            return []
    except HsdError:
        return []
    return [f"SLURM accepted a job of a killed submission late: cancelled {', '.join(found)}."]
