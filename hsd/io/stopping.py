"""Stopping on request: Ctrl-C, SIGTERM and SIGUSR2 end a command where it can go on later.

So does the end of the launcher that started this process, and the loss of the run's folder.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hsd.errors import Stopped

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Ctrl-C, the scheduler's end, and the scheduler's warning before a time limit."""
LAUNCHERS = ("TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_MODE")
"""Set by torchrun, and by `accelerate launch` for a single process too. What people set themselves,
as RANK and ACCELERATE_MIXED_PRECISION, tells of no launcher: their shell may end, and what it
started with nohup goes on."""


class StopRequest:
    """Set once a signal asked this process to stop; more of them change nothing.

    But a second Ctrl-C interrupts at once, unless under a launcher: that passes the terminal's
    Ctrl-C on to processes that have got it already.
    """

    def __init__(self, *, launched: bool, launcher: int | None = None) -> None:
        self.signal: int | None = None
        self.lost: str | None = None
        """Who has taken the run's folder over, in a sentence."""
        self.launched = launched
        self._launcher = launcher

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Remember the signal."""
        if self.signal is not None and number == signal.SIGINT and not self.launched:
            raise KeyboardInterrupt
        self.signal = number

    def lose(self, sentence: str) -> None:
        """Remember that the run's folder is another process's now."""
        self.lost = sentence

    @property
    def asked(self) -> bool:
        """Whether this process is to stop: a signal came, or the folder or the launcher is gone.

        A launcher that dies of a signal it has no handler for takes no rank along: they would hold
        their GPUs, and work in the folder that the same job opens next. It is gone once this
        process has another parent; which one that is (1, a container's init, a `subreaper`) does
        not matter, and a launcher that is 1 itself takes all processes along.
        """
        orphaned = self._launcher is not None and os.getppid() != self._launcher
        return orphaned or self.signal is not None or self.lost is not None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, the signals set the request instead of ending the process.

    A block in a block shares its request: a command listens before it loads a library, and the
    library's own block knows of a signal that came meanwhile. SIGUSR2 stays ignored afterwards.
    Outside the main thread nobody can listen; there the request is never set.
    """
    around = signal.getsignal(signal.SIGUSR2)
    if isinstance(around, StopRequest):
        yield around
        return
    launcher = os.getppid() if any(name in os.environ for name in LAUNCHERS) else None
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    request = StopRequest(launched=launched, launcher=launcher)
    with _handled_by(request):
        yield request


@contextmanager
def ended_by_signal(sentence: str) -> Iterator[None]:
    """Within the block, the first signal ends it at once with Stopped; later ones are ignored.

    For work that keeps nothing unfinished: it cleans up as after any exception.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)  # or they would interrupt the cleaning up
        raise _Ended

    try:
        with _handled_by(end):
            yield
    except _Ended:
        raise Stopped(sentence) from None


class _Ended(KeyboardInterrupt):
    """Like Ctrl-C's own exception, it is caught by no library that catches every Exception."""


def _is_deaf(number: int) -> bool:
    """Whether whoever started this process wants it to go on at Ctrl-C.

    A shell starts what a script runs in the background, and `nohup make &`, with SIGINT ignored:
    the terminal's Ctrl-C is for what runs in front. SIGTERM and SIGUSR2 are heard always, since
    hsd's own launcher ignores both and its ranks inherit that.
    """
    return number == signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPPING if not _is_deaf(number)}
    # A scheduler repeats SIGUSR2 until the process has ended, and its default is to kill: that
    # would hide the exit code of a process that is just about to end.
    before[signal.SIGUSR2] = signal.SIG_IGN
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
