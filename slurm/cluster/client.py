"""The only place that runs sbatch, squeue, sacct, scancel, scontrol, sinfo and sacctmgr."""

import os
import re
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hsd.errors import HsdError, PreflightError, Stopped
from slurm.cluster.environment import scrubbed
from slurm.cluster.job_comment import COMMENT, new_comment
from slurm.cluster.profile import Profile

# Text, not --json: 1,000 jobs take squeue 0.05 s and 0.1 MB, with --json 1.1 s and 8 MB; --array is
# ignored then, and the form changes with each release (EXPERIMENTS.md, 6).
QUEUE_FORMAT = "%F|%K|%i|%T|%M|%l|%S|%N|%E|%u|%j|%k|%r"
"""Array job, index, id, state, time used, its limit, (expected) start, nodes, dependency, user,
name, comment, reason.

The reason is last: it is a sentence now and then, and may hold any sign.
"""
ACCOUNTING_FIELDS = (
    "JobID,State,ExitCode,DerivedExitCode,Reason,Submit,Start,End,ElapsedRaw,AllocTRES,NodeList,"
    "User,JobName,Comment"
)
STEP_FIELDS = "JobID,Submit,Eligible,Start,End,TotalCPU,MaxRSS"
OWN_FORMAT = "%F|%k|%T|%j"
"""Array job, comment, state, name: by what a job that was just submitted is found."""
HELD_FORMAT = "%F|%k|%Q|%j"
"""The same with the priority instead of the state; the reason may be what a held job waits for."""

LONGEST_REPLY_S = 100.0  # sbatch itself waits for a busy controller, for MessageTimeout and more
_WAITS_S = (0.0, 1.0, 3.0, 9.0, 20.0)
_AMBIGUOUS = re.compile(
    r"timed out|unable to contact|zero bytes|connection (refused|reset)|transport endpoint"
    r"|communication|unexpected message|no route|broken pipe|not responding"
    r"|temporarily unavailable",
    re.IGNORECASE,
)
_NOISE = re.compile(r"^(s[a-z]+: )?((error|fatal|warning|info): )?")
_LINES_TOLD = 2
_LEAVING = frozenset({"COMPLETING", "CANCELLED"})
_HELD = "0"
"""The priority of a job that is held."""
_NO_SUCH_JOB = "Invalid job id"
_ASK_A_CLUSTER = frozenset({"squeue", "sacct", "scancel", "scontrol", "sinfo"})
"""Programs that take -M; sbatch reads it in the script."""


class ClusterError(PreflightError):
    """This machine has no SLURM, or SLURM does not answer."""


class CommandFailed(HsdError):  # noqa: N818 - what happened, as CalledProcessError
    """A program of SLURM ended with an error, or not in time (returncode None)."""

    def __init__(self, program: str, returncode: int | None, line: str) -> None:
        super().__init__(f"{program}: {line}")
        self.program, self.returncode, self.line = program, returncode, line

    @property
    def ambiguous(self) -> bool:
        """Whether the controller may have done it all the same: its answer was lost."""
        return self.returncode is None or bool(_AMBIGUOUS.search(self.line))


@dataclass(frozen=True, slots=True)
class Slurm:
    """SLURM's programs, run one at a time in a scrubbed environment.

    `keep` are names of variables that jobs may see; `waits_s` the pauses before each look for a
    job that is to be there, or to be gone. `cluster` is asked where a site has several; empty asks
    the one that this machine belongs to.
    """

    keep: tuple[str, ...] = ()
    timeout_s: float = LONGEST_REPLY_S
    waits_s: tuple[float, ...] = _WAITS_S
    cluster: str = ""

    def text(self, *argv: str) -> str:
        """Run one program and return what it printed.

        Raises ClusterError when it is not installed, CommandFailed when it ends with an error.
        """
        return self._run(argv).stdout

    def submit(self, script: Path, *options: str, name: str = "", comment: str = "") -> str:
        """Submit a script, held, and return its job id; `release` lets it start.

        The id is that of the job with our unique `comment`, which is not in the script, whose bytes
        are those of the dry run. What sbatch prints counts for nothing by itself: sites have it
        print other things, and an answer can be lost. Only where a site changes comments is a
        number in it that is held under `name`. Raises CommandFailed for a job that is not found.
        """
        comment = comment or new_comment()
        argv = ("sbatch", "--parsable", "--hold", f"--comment={comment}", *options, str(script))
        with self._no_orphan(comment):
            try:
                printed = self.text(*argv)
            except CommandFailed as error:
                if error.ambiguous and (found := self._find(comment, error)):
                    return found
                raise
            unread = CommandFailed(
                "sbatch",
                0,
                f"no job in the queue has the comment {comment}; it printed: {printed.strip()!r}; "
                "if a number in it is a job of yours, it is held: scancel it",
            )
            if found := self._find(comment, unread, name, printed):
                return found
            raise unread

    def take_back(
        self, comments: Iterable[str], known: Mapping[str, str] | None = None
    ) -> set[str]:
        """Cancel every job with one of our comments; return the ids that are still there.

        `known` has the names of jobs by their ids, whose comment the site may have changed. That
        scancel went well, or knows no such job, is not enough: the queue has to show none of them.
        Raises CommandFailed when it could not be asked.
        """
        wanted, names = set(comments), known or {}
        left: set[str] | None = None
        error = CommandFailed("squeue", None, "was not asked")
        for wait_s in self.waits_s:
            time.sleep(wait_s)
            try:
                own = [job for job in self._own() if job.is_of(wanted, names)]
                left = {job.id for job in own if job.state not in _LEAVING}
            except CommandFailed as failed:
                error = failed
                continue
            for job in sorted(left, key=int, reverse=True):  # from the leaves, whatever one says
                with suppress(CommandFailed):
                    self.cancel([job])
            if not left:
                return set()
        if left is None:
            raise error
        return left

    def test_only(self, script: Path, *options: str) -> str:
        """Return what sbatch says of a script without submitting it: when it would start."""
        done = self._run(("sbatch", "--test-only", *options, str(script)))
        return _reason(done.stderr or done.stdout)

    def release(self, ids: Iterable[str]) -> None:
        """Let held jobs start."""
        if listed := ",".join(ids):
            self.text("scontrol", "release", listed)

    def waiting(self, comments: Iterable[str], known: Mapping[str, str]) -> list[str]:
        """Return the ids of those of some jobs that have not started; arguments as `take_back`."""
        wanted = set(comments)
        own = self._own()
        return [one.id for one in own if one.state == "PENDING" and one.is_of(wanted, known)]

    def held(self, comments: Iterable[str], known: Mapping[str, str]) -> list[str]:
        """Return the ids of those that wait for a release; arguments as `take_back`."""
        wanted, own = set(comments), self._own(HELD_FORMAT, "--states=PENDING")
        return [one.id for one in own if one.state == _HELD and one.is_of(wanted, known)]

    def strays(self, names: Collection[str], known: Collection[str]) -> dict[str, str]:
        """Return held jobs of these names by their ids, but for `known` ids.

        They are of an sbatch whose answer nobody wrote down, where the site changes comments.
        """
        return {
            one.id: one.name
            for one in (self._own(HELD_FORMAT, "--states=PENDING") if names else ())
            if one.state == _HELD and one.name in names and one.id not in known
            if not one.comment.startswith(COMMENT)
        }

    def cancel(self, ids: Iterable[str], signal: str | None = None) -> None:
        """Ask for jobs to be cancelled, or send them a signal; an id that is unknown is no error.

        Whether they are gone is another question: see `take_back`, and slurm/watch/cancellation.py.
        """
        if listed := list(ids):
            how = (f"--signal={signal}",) if signal else ()
            try:
                self.text("scancel", *how, *listed)
            except CommandFailed as error:
                if _NO_SUCH_JOB not in error.line:
                    raise

    def queue(self, ids: Iterable[str]) -> str:
        """Return squeue's lines of these jobs in QUEUE_FORMAT, one an array element."""
        if not (listed := ",".join(ids)):
            return ""
        try:
            return self.text(
                "squeue", "-h", "--array", "--states=all", "-o", QUEUE_FORMAT, "-j", listed
            )
        except CommandFailed as error:
            if _NO_SUCH_JOB in error.line:  # all of them were finished and forgotten
                return ""
            raise

    def accounting(self, ids: Iterable[str]) -> str | None:
        """Return sacct's lines of every attempt of these jobs; None where accounting is off."""
        if not (listed := ",".join(ids)):
            return ""
        wanted = f"--format={ACCOUNTING_FIELDS}"
        try:  # -D: without it an attempt that was requeued is not shown
            return self.text("sacct", "-D", "-n", "-P", "-X", wanted, "-j", listed)
        except (ClusterError, CommandFailed):
            return None

    def steps(self, ids: Iterable[str]) -> str:
        """Return sacct's lines of every attempt of these jobs and its steps; "" without accounting.

        Only the steps, such as 123_0.batch, know what was used.
        """
        if not (listed := ",".join(ids)):
            return ""
        try:
            return self.text("sacct", "-D", "-n", "-P", f"--format={STEP_FIELDS}", "-j", listed)
        except (ClusterError, CommandFailed):
            return ""

    def config(self) -> dict[str, str]:
        """Return the controller's settings, such as MaxArraySize, as text."""
        lines = self.text("scontrol", "show", "config").split("\n")
        pairs = (line.partition("=") for line in lines)
        return {name.strip(): value.strip() for name, sign, value in pairs if sign}

    def _run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        program, *rest = argv
        where = ("-M", self.cluster) if self.cluster and program in _ASK_A_CLUSTER else ()
        try:
            done = subprocess.run(
                (program, *where, *rest),
                env=scrubbed(os.environ, self.keep),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_s,
                check=False,
            )
        except FileNotFoundError:
            raise ClusterError(
                f"{program}: not found on this machine; run this on a login node of the cluster, "
                "or use --local."
            ) from None
        except subprocess.TimeoutExpired:
            raise CommandFailed(program, None, f"no answer in {self.timeout_s:g} s") from None
        if done.returncode:
            line = _reason(done.stderr or done.stdout) or f"ended with code {done.returncode}"
            raise CommandFailed(program, done.returncode, line)
        return done

    def _own(self, form: str = OWN_FORMAT, *more: str) -> list["_Own"]:
        """Return this user's jobs that are not over, one a line of squeue."""
        # -a: without it jobs in a hidden partition are not shown.
        said = self.text("squeue", "-h", "-a", "-u", str(os.getuid()), *more, "-o", form)
        rows = ([*line.strip().split("|", 3), "", ""] for line in said.split("\n") if "|" in line)
        return [_Own(*row[:4]) for row in rows]

    def _find(
        self, comment: str, error: CommandFailed, name: str = "", printed: str = ""
    ) -> str | None:
        """Return the job with this comment; look again for a while, as a busy controller is slow.

        Raises CommandFailed when the controller could not be asked even once.
        """
        asked = False
        for wait_s in self.waits_s:
            time.sleep(wait_s)
            try:
                own = self._own()
            except CommandFailed:
                continue
            asked = True
            found = {j.id for j in own if j.comment == comment or j.may_be(name, printed)}
            if found:
                first, *more = sorted(found, key=int)
                self.cancel(more)  # a site's sbatch that tried again after a lost answer
                return first
        if not asked:
            raise CommandFailed(
                error.program,
                error.returncode,
                f"{error.line}; and squeue could not be asked whether the job was accepted. If it "
                f"was, it is held: look for the comment {comment} in `squeue -o '%F %k'`",
            )
        return None

    @contextmanager
    def _no_orphan(self, comment: str) -> Iterator[None]:
        """Cancel what was submitted when Ctrl-C comes before its id is known to the caller."""
        try:
            yield
        except (KeyboardInterrupt, Stopped):
            once = replace(self, waits_s=(0.0, 1.0))
            if once._find(comment, CommandFailed("sbatch", None, "interrupted")):
                once.take_back([comment])
            raise


def programs(profile: Profile) -> Slurm:
    """Return SLURM's programs as a profile has them used."""
    return Slurm(profile.env.passed, cluster=profile.slurm.cluster if profile.slurm else "")


@dataclass(frozen=True, slots=True)
class _Own:
    """A line of OWN_FORMAT, or of HELD_FORMAT, whose priority is its `state`."""

    id: str
    comment: str
    state: str
    name: str

    def is_of(self, comments: Collection[str], known: Mapping[str, str]) -> bool:
        """Whether it has one of the comments; else, where the site changes them, id and name.

        An id alone may be another job's by now.
        """
        if self.comment in comments:
            return True
        return known.get(self.id) == self.name and not self.comment.startswith(COMMENT)

    def may_be(self, name: str, printed: str) -> bool:
        """Whether this is what sbatch just printed, and the site has changed its comment."""
        is_ours = bool(name) and self.name == name and not self.comment.startswith(COMMENT)
        return is_ours and self.state == "PENDING" and self.id in re.findall(r"\d+", printed)


def _reason(stderr: str) -> str:
    """Return why in one line: the last errors, else the last line, without the noise.

    sbatch names the wrong partition in one line, and in the next says that it failed.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith('Try "')]  # ... --help"
    errors = [line for line in lines if re.match(r"(s[a-z]+: )?(error|fatal): ", line)]
    told = errors[-_LINES_TOLD:] or lines[-1:]
    return "; ".join(dict.fromkeys(_NOISE.sub("", line) for line in told))
