"""Stopping on request: Ctrl-C, SIGTERM and SIGUSR2 let the step end and a checkpoint be written."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Ctrl-C, the scheduler's end, and the scheduler's warning before a time limit."""


class StopRequest:
    """Set once a signal asked this process to stop.

    A second Ctrl-C interrupts at once, but not under a launcher: that passes the terminal's
    Ctrl-C on to processes that have got it already.
    """

    def __init__(self, *, launched: bool) -> None:
        self.signal: int | None = None
        self.launched = launched

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal."""
        if self.signal is not None and number == signal.SIGINT and not self.launched:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_request(*, launched: bool) -> Iterator[StopRequest]:
    """Within the block, the signals set the request instead of ending the process."""
    request = StopRequest(launched=launched)
    before = {number: signal.signal(number, request) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
