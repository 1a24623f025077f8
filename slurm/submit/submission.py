"""A plan's jobs are submitted all or none: held, recorded, released; taken back on any error."""

import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hsd.errors import HsdError, SubmissionError
from hsd.io.files import write_atomic
from hsd.io.provenance import now
from hsd.io.stopping import ended_by_signal
from slurm.cluster.client import Slurm
from slurm.cluster.job_comment import new_comment
from slurm.cluster.profile import Profile
from slurm.node.supervisor import Orders
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Submitted
from slurm.submit.pickles import hand_over, write_pickles
from slurm.submit.script import options, script
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Stage

SCRIPT = "script.sh"
_STOPPED = "stopped; nothing was submitted. The same command begins again."


@dataclass(frozen=True, slots=True)
class SubmissionBundle:
    """A plan with everything that its jobs are made of; nothing is written yet."""

    plan: Plan
    profile: Profile
    number: int
    """This submission's, counted from 1 in the run."""
    scripts: Mapping[str, str]
    """Stage -> the text that sbatch gets."""
    orders: Mapping[str, Sequence[Orders]]
    """Stage -> what each of its elements does."""
    code: Path
    """The snapshot that jobs run."""

    def folder(self, stage: Stage) -> Path:
        """Where a stage's script, pickles and logs are."""
        return self.plan.folder.submission(self.number, stage.name)


def next_submission_number(folder: RunFolder) -> int:
    """Return the number of a run's next submission."""
    return submissions.next_number(folder.path)


def scripts(plan: Plan, profile: Profile, number: int, exports: Sequence[str]) -> dict[str, str]:
    """Return each stage's script."""
    folder = plan.folder
    return {
        stage.name: script(plan, stage, profile, folder.submission(number, stage.name), exports)
        for stage in plan.stages
    }


def commands(prepared: SubmissionBundle) -> list[str]:
    """Return the sbatch commands as a person would type them, with <stage> for ids to come."""
    slurm = prepared.profile.slurm
    assert slurm is not None
    names = {stage.name: f"<{stage.name}>" for stage in prepared.plan.stages}
    return [
        " ".join(
            [
                "sbatch --hold",
                *options(s.after, names, slurm),
                shlex.quote(str(prepared.folder(s) / SCRIPT)),
            ]
        )
        for s in prepared.plan.stages
    ]


def submit(
    prepared: SubmissionBundle, slurm: Slurm, accepted: Callable[[Submitted], None] = lambda _: None
) -> list[Submitted]:
    """Submit every stage and return what was accepted, in order; `accepted` is called with each.

    Raises SubmissionError after everything was taken back when one is refused, and Stopped after
    the same on Ctrl-C.
    """
    transaction = _Transaction(prepared, slurm)
    with for_owner_alone():
        before = signal.getsignal(signal.SIGUSR2)
        try:
            with ended_by_signal(_STOPPED):  # a second Ctrl-C must not interrupt the taking back
                _submit_all(transaction, accepted)
        finally:
            signal.signal(signal.SIGUSR2, before)  # what is ignored here a child could not trap
        transaction.note("released")
    return transaction.held


def _submit_all(transaction: "_Transaction", accepted: Callable[[Submitted], None]) -> None:
    try:
        transaction.note("begun")
        for stage in transaction.prepared.plan.stages:
            accepted(transaction.hold(stage))
        transaction.at = "release"
        transaction.note("complete")
        transaction.slurm.release(one.job_id for one in transaction.held)
    except BaseException as error:
        left = transaction.take_back()
        if left or isinstance(error, HsdError | OSError):
            raise SubmissionError(_sentence(error, transaction, left)) from None
        raise


@contextmanager
def for_owner_alone() -> Iterator[None]:
    """Within the block, let nobody else read what is made: logs and predictions hold posts."""
    old = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(old)


@dataclass
class _Transaction:
    prepared: SubmissionBundle
    slurm: Slurm
    held: list[Submitted] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    """Those of all jobs, of one that sbatch may have accepted without saying so too."""
    at: str = ""
    """The stage being submitted."""

    def note(self, word: str, **more: str) -> None:
        """Write down where the submission is."""
        line = {word: self.prepared.number, **more}
        submissions.note_submission(self.prepared.plan.folder.path, **line)

    def hold(self, stage: Stage) -> Submitted:
        """Submit one stage, held; its id is on disk before anything else happens."""
        self.at = stage.name
        folder, profile = self.prepared.folder(stage), self.prepared.profile
        assert profile.slurm is not None
        pickles = write_pickles(
            folder,
            self.prepared.orders[stage.name],
            stage.resources.time_min,
            self.prepared.code,
        )
        write_atomic(folder / SCRIPT, self.prepared.scripts[stage.name])
        ids = {one.stage: one.job_id for one in self.held}
        after = options(stage.after, ids, profile.slurm)
        name = submissions.job_name(self.prepared.plan.name, stage.name)
        comment = new_comment()
        self.comments.append(comment)
        # Before sbatch: a kill may come right after its yes.
        self.note("asked", comment=comment, name=name)
        job_id = self.slurm.submit(folder / SCRIPT, *after, name=name, comment=comment)
        submitted = Submitted(
            number=self.prepared.number,
            stage=stage.name,
            kind=stage.of,
            job_id=job_id,
            cells=tuple(task.cell for task in stage.tasks),
            at=now(),
            gpus=stage.resources.gpus * stage.resources.nodes,
            time_min=stage.resources.time_min,
            name=name,
            comment=comment,
            cluster=profile.slurm.cluster,
        )
        self.held.append(submitted)
        submissions.append_submission(self.prepared.plan.folder.path, submitted)
        hand_over(pickles, folder, job_id)
        return submitted

    def take_back(self) -> list[str]:
        """Cancel whatever has one of our comments; return the ids that are not seen to be gone."""
        names = {one.job_id: one.name for one in self.held}
        ids = list(names)
        try:
            left = self.slurm.take_back(self.comments, names)
        except HsdError:  # nobody can say what is left
            return ids[::-1]
        for job_id in reversed(ids):
            if job_id not in left:
                with suppress(OSError):
                    submissions.note_submission(self.prepared.plan.folder.path, cancelled=job_id)
        if not left:
            with suppress(OSError):
                self.note("taken_back")
        return sorted(left, key=int, reverse=True)


def _sentence(error: BaseException, transaction: _Transaction, left: Sequence[str]) -> str:
    said = f"{transaction.at}: {_message(error)}."
    if left:
        return f"{said} Held jobs are left; remove them: scancel {' '.join(left)}"
    count = len(transaction.held)
    if not count:
        return f"{said} No job was submitted before it."
    jobs = "The job" if count == 1 else f"The {count} jobs"
    return f"{said} {jobs} submitted before it {'was' if count == 1 else 'were'} taken back."


def _message(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'run folder'}: {error.strerror}"
    return str(error).rstrip(".") or "interrupted"
