"""What a job does on its node: start the commands, pass on a stop, requeue, say how it ended.

It runs on the host's own Python with the standard library alone; only the commands run in a
container. One is on each node of a job; the first node's writes the events and requeues.

submitit's own handlers are replaced while it runs: they would requeue while ranks are still
writing, and ignore the SIGTERM of a preemption. Nothing needs to be pickled again on a requeue,
since a run's whole state is in its folder.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from slurm.node.descendants import tell
from slurm.node.events import record, shell_code
from slurm.node.job_context import Here, ScratchRefused, filled, make_scratch, whereabouts
from slurm.node.requeue import BACK, CANCELLED, requeue, standing
from slurm.node.usage import UsageMeter
from slurm.node.work_seen import WorkSeen

STOPPED = 75
"""The exit code of hsd's commands for: stopped on request, the same command goes on."""
STOPPING = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
"""A time limit that is near, a preemption or the end, and Ctrl-C."""
POLL_S = 0.5
TELL_EVERY_S = 5.0
"""A rank that is still loading has no handler yet: it is told again until it has ended."""
WAIT_FOR_END_S = 120.0
"""After a requeue SLURM ends the job itself; leaving early would make it count as failed."""
_NOT_FOUND = 127
"""A shell's exit code for a command that cannot be started."""
_REFUSED = 3
"""The exit code of hsd's commands for: the request is well formed, but cannot work here."""


@dataclass(frozen=True)
class Orders:
    """What to do, as texts. `commands` are whole, container and launcher included."""

    commands: tuple[tuple[str, ...], ...]
    cwd: str
    attempts: str
    """File of this cell's events of this stage."""
    done: str
    """Marker that is written last."""
    identity: str
    """Content hash of the cell; stands in the marker."""
    requeue: str = ""
    """The profile's word: `scontrol` requeues a stopped job, anything else leaves it ended with
    code 75. Empty where there is no queue."""
    max_requeues: int = 0
    tell: tuple[str, ...] = ()
    """Command that passes a stop into a container whose processes are not below this one."""
    progress: tuple[str, str] = ("", "")
    """Folder and pattern of the progress.json that the commands write, where they write one."""


def supervise(orders: Orders, here: Here | None = None) -> int:
    """Run the commands one after another and return the job's exit code; 0 only when all ended so.

    A job that was asked to stop is requeued, where that is allowed, after its processes ended.
    """
    here = here or whereabouts(os.environ)
    if is_done(Path(orders.done), orders.identity):
        return 0  # a queued follow-up has nothing to do
    before = _listen(here)
    try:
        made = make_scratch(here.environ)
        meter = UsageMeter(here.environ, work=WorkSeen(*orders.progress))
        if here.first:
            facts = {"found": meter.work.before} if meter.work.before else {}
            _record(orders, here, "started", host=here.nodes[0], argv=orders.commands, **facts)
        code = _run_all(orders, here, meter)
        here.used.update(meter.facts(of_processes=not orders.tell))
        here.worked = meter.work.facts()
        if made:  # before a requeue, which ends this process where it stands
            shutil.rmtree(made, ignore_errors=True)
        return _concluded(orders, here, code) if here.first else _waited(here, code)
    except ScratchRefused as refused:
        _say(f"Error: {refused}", here)
        return _REFUSED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(here: Here) -> dict[int, Any]:
    """Take note of stop signals instead of ending; return the handlers that were there.

    A terminal's Ctrl-C reaches the commands too; where it is ignored, it stays so for all of them.
    """

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a handler
        here.asked.append(number)

    deaf = {signal.SIGINT} if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else set()
    return {number: signal.signal(number, note) for number in STOPPING if number not in deaf}


def _run_all(orders: Orders, here: Here, meter: UsageMeter) -> int:
    for number, command in enumerate(orders.commands, start=1):
        code = _run(filled(command, here), orders, here, meter)
        if code:
            return code
        if here.asked and number < len(orders.commands):
            return STOPPED
    return 0


def _run(command: list[str], orders: Orders, here: Here, meter: UsageMeter) -> int:
    """Run one command to its end, passing on a stop; return its exit code."""

    def ignore() -> None:
        # Inherited by a launcher, which would die of the signal long before its ranks have saved.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    # Nothing keeps this Popen: a lock in a pickled object would break a requeue.
    out, error = here.streams
    try:
        process = subprocess.Popen(
            command, cwd=orders.cwd, env=here.environ, stdout=out, stderr=error, preexec_fn=ignore
        )
    except OSError as refused:  # a container's program or a folder that this node lacks
        _say(f"Error: it cannot be started: {refused.strerror}: '{refused.filename}'", here)
        return _NOT_FOUND
    # A stop is passed on again and again: a launcher may be forking its ranks when it comes first.
    told_at: float | None = None
    while process.poll() is None:  # never wait(): a handler cannot run inside its lock
        if here.asked and (told_at is None or time.monotonic() - told_at >= TELL_EVERY_S):
            if told_at is None:
                _record_signal(orders, here)
            told_at = time.monotonic()
            _tell(orders, here)
        meter.look()
        time.sleep(POLL_S)
    if here.asked and told_at is None:  # it ended of the signal before it was told
        _record_signal(orders, here)
    return process.returncode


def _tell(orders: Orders, here: Here) -> None:
    tell(os.getpid(), signal.SIGUSR2)
    if orders.tell:
        # A container that is not up yet, or no more: it is told again, or has ended.
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(filled(orders.tell, here), capture_output=True, check=False, timeout=30)


def _concluded(orders: Orders, here: Here, code: int) -> int:
    """Write down how the job ended; requeue it when it was stopped early and may go on."""
    if code == 0:
        _mark_done(orders)
        _record(orders, here, "ended", code=0)
        return 0
    if not here.asked:
        _record(orders, here, "ended", code=code)
        return shell_code(code)
    why = _why_not(orders, here) or _goes_on(orders, here)
    if why is None:
        _say(f"requeued {here.job}; it goes on from its newest complete checkpoint", here)
        return _waited(here, STOPPED)
    _record(orders, here, "stopped", code=STOPPED, why=why)
    if orders.requeue:
        _say(f"stopped and not requeued: {why}", here)
    return STOPPED


def _why_not(orders: Orders, here: Here) -> str | None:
    """Return why the profile does not let a stopped job go on; None when it does."""
    if orders.requeue != "scontrol":
        return f"requeue is '{orders.requeue}'" if orders.requeue else "there is no queue here"
    if here.restart >= orders.max_requeues:
        return f"it was requeued {here.restart} times, the most that the profile allows"
    return None


def _goes_on(orders: Orders, here: Here) -> str | None:
    """Requeue the job, unless SLURM has; return why not, None when it goes on."""
    stands = standing(here.job, here.restart)
    if stands == CANCELLED:
        return "it was cancelled"
    _record(orders, here, "requeued")  # before: SLURM ends this process right after
    return None if stands == BACK else requeue(here.job)


def _waited(here: Here, code: int) -> int:
    """Wait for SLURM to end a job that is requeued, or is stopping on its first node."""
    end = time.monotonic() + (WAIT_FOR_END_S if code and here.asked else 0)
    while time.monotonic() < end:
        time.sleep(POLL_S)
    return shell_code(code)


def is_done(marker: Path, identity: str) -> bool:
    """Return whether the marker is there, and of this very content."""
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("identity") == identity


def _mark_done(orders: Orders) -> None:
    """Write the marker whole or not at all, on disk before anybody reads it."""
    path = Path(orders.done)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        json.dump({"identity": orders.identity, "at": at}, file)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _record_signal(orders: Orders, here: Here) -> None:
    if here.first:
        _record(orders, here, "signalled", signal=signal.Signals(here.asked[0]).name)


def _record(orders: Orders, here: Here, event: str, **facts: object) -> None:
    """Write an event; one that cannot be written must not cost the work that it is about.

    That of an end says what was used.
    """
    if here.used:
        facts["used"] = here.used
    if here.worked:
        facts["worked"] = here.worked
    try:
        record(Path(orders.attempts), event, job=here.job, restart=here.restart, **facts)
    except OSError as error:
        _say(f"{orders.attempts}: '{event}' was not written ({error.strerror})", here)


def _say(sentence: str, here: Here) -> None:
    """Write a line to the log of the job's errors."""
    line = f"{sentence}\n" if sentence.startswith("Error: ") else f"hsd: {sentence}\n"
    if stream := here.streams[1]:
        stream.write(line.encode())
        stream.flush()
    else:
        print(line, end="", file=sys.stderr, flush=True)
