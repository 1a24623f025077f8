"""An end to work that a hostile file could make endless: a template's loops, a pattern."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def within(seconds: float, late: Exception) -> Iterator[None]:
    """Raise `late` when the block has computed for longer than `seconds`.

    On a busy machine it may wait for long and not be late. By a signal, which ends loops of Python
    and matches of `re`; it reaches the main thread alone: in another there is no end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except _Late:
        raise late from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class _Late(BaseException):
    """No `except Exception` on the way may keep it."""
