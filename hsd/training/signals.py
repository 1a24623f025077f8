"""Stopping on request: Ctrl-C, SIGTERM and SIGUSR2 let the step end and a checkpoint be written."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Ctrl-C, the scheduler's end, and the scheduler's warning before a time limit."""


class StopRequest:
    """Set once a signal asked this process to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; a second Ctrl-C interrupts at once."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, the signals set the request instead of ending the process."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
