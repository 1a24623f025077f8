"""The only place that runs sbatch, squeue, sacct, scancel, scontrol, sinfo and sacctmgr."""

import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hsd.errors import HsdError, PreflightError
from slurm.environment import scrubbed

QUEUE_FORMAT = "%F|%K|%i|%T|%M|%l|%S|%N|%E|%r"
"""Array job, index, id, state, time used, its limit, (expected) start, nodes, dependency, reason.

The reason is last: it is a sentence now and then, and may hold any sign.
"""
ACCOUNTING_FIELDS = "JobID,State,ExitCode,Reason,Submit,Start,End,ElapsedRaw,AllocTRES,NodeList"

_LONGEST_REPLY_S = 100.0  # sbatch itself waits for a busy controller, for MessageTimeout and more
_WAITS_S = (0.0, 1.0, 3.0, 9.0, 20.0)
_AMBIGUOUS = re.compile(
    r"timed out|unable to contact|zero bytes|connection (refused|reset)|transport endpoint"
    r"|communication|unexpected message|no route|broken pipe|not responding"
    r"|temporarily unavailable",
    re.IGNORECASE,
)
_NOISE = re.compile(r"^(s[a-z]+: )?((error|fatal|warning|info): )?")
_LINES_TOLD = 2
_NO_SUCH_JOB = "Invalid job id"
_ID = re.compile(r"(\d+)(;\S+)?")


class ClusterError(PreflightError):
    """This machine has no SLURM, or SLURM does not answer."""


class CommandFailed(HsdError):  # noqa: N818 - what happened, as CalledProcessError
    """A program of SLURM ended with an error, or not in time (code None)."""

    def __init__(self, program: str, code: int | None, line: str) -> None:
        super().__init__(f"{program}: {line}")
        self.program, self.code, self.line = program, code, line

    @property
    def ambiguous(self) -> bool:
        """Whether the controller may have done it all the same: its answer was lost."""
        return self.code is None or bool(_AMBIGUOUS.search(self.line))


@dataclass(frozen=True, slots=True)
class Slurm:
    """SLURM's programs, run one at a time in a scrubbed environment.

    `keep` are names of variables that jobs may see; `waits_s` the pauses before each look for a
    job whose acceptance is in doubt.
    """

    keep: tuple[str, ...] = ()
    timeout_s: float = _LONGEST_REPLY_S
    waits_s: tuple[float, ...] = _WAITS_S

    def text(self, *argv: str) -> str:
        """Run one program and return what it printed.

        Raises ClusterError when it is not installed, CommandFailed when it ends with an error.
        """
        return self._run(argv).stdout

    def submit(self, script: Path, *options: str) -> str:
        """Submit a script, held, and return its job id; `release` lets it start.

        When the answer is lost the job is looked for by a unique comment before it counts as
        failed. The comment is not in the script, whose bytes are those of the dry run.
        """
        comment = f"hsd-{uuid.uuid4().hex}"
        argv = ("sbatch", "--parsable", "--hold", f"--comment={comment}", *options, str(script))
        with self._no_orphan(comment):
            try:
                printed = self.text(*argv)
            except CommandFailed as error:
                if error.ambiguous and (found := self._find(comment, error)):
                    return found
                raise
            if job := _job_id(printed):
                return job
            unread = CommandFailed("sbatch", 0, f"no job id in what it printed: {printed!r}")
            if found := self._find(comment, unread):
                return found
            raise unread

    def test_only(self, script: Path, *options: str) -> str:
        """Return what sbatch says of a script without submitting it: when it would start."""
        done = self._run(("sbatch", "--test-only", *options, str(script)))
        return _reason(done.stderr or done.stdout)

    def release(self, ids: Iterable[str]) -> None:
        """Let held jobs start."""
        if listed := ",".join(ids):
            self.text("scontrol", "release", listed)

    def cancel(self, ids: Iterable[str], signal: str | None = None) -> None:
        """Cancel jobs, or send them a signal; those that are over are left alone."""
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

    def config(self) -> dict[str, str]:
        """Return the controller's settings, such as MaxArraySize, as text."""
        lines = self.text("scontrol", "show", "config").split("\n")
        pairs = (line.partition("=") for line in lines)
        return {name.strip(): value.strip() for name, sign, value in pairs if sign}

    def _run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        program = argv[0]
        try:
            done = subprocess.run(
                argv,
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

    def _find(self, comment: str, error: CommandFailed) -> str | None:
        """Return the job with this comment; look again for a while, as a busy controller is slow.

        Raises CommandFailed when the controller could not be asked even once.
        """
        asked = False
        for wait_s in self.waits_s:
            time.sleep(wait_s)
            try:
                lines = self.text("squeue", "-h", "-o", "%F|%k").split("\n")
            except CommandFailed:
                continue
            asked = True
            for job, _, said in (line.strip().partition("|") for line in lines):
                if said == comment:
                    return job
        if not asked:
            raise CommandFailed(
                error.program,
                error.code,
                f"{error.line}; and squeue could not be asked whether the job was accepted. If it "
                f"was, it is held: look for the comment {comment} in `squeue -o '%F %k'`",
            )
        return None

    @contextmanager
    def _no_orphan(self, comment: str) -> Iterator[None]:
        """Cancel what was submitted when Ctrl-C comes before its id is known to the caller."""
        try:
            yield
        except KeyboardInterrupt:
            once = Slurm(self.keep, self.timeout_s, (0.0, 1.0))
            if job := once._find(comment, CommandFailed("sbatch", None, "interrupted")):
                self.cancel([job])
            raise


def _job_id(printed: str) -> str | None:
    """Return the id in sbatch --parsable's output; sites' wrappers print lines before it."""
    found = [match[1] for line in printed.split() if (match := _ID.fullmatch(line))]
    return found[-1] if found else None


def _reason(stderr: str) -> str:
    """Return why in one line: the last errors, else the last line, without the noise.

    sbatch names the wrong partition in one line, and in the next says that it failed.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith('Try "')]  # ... --help"
    errors = [line for line in lines if re.match(r"(s[a-z]+: )?(error|fatal): ", line)]
    told = errors[-_LINES_TOLD:] or lines[-1:]
    return "; ".join(dict.fromkeys(_NOISE.sub("", line) for line in told))
