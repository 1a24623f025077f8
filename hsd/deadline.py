"""An end to work that a hostile file could make endless: a template's loops, a pattern."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def within(seconds: float, late: Exception) -> Iterator[None]:
    """Raise `late` when the block takes longer than `seconds`.

    By a signal, which ends loops of Python and matches of `re`. It reaches the main thread alone:
    in another there is no end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Late:
        raise late from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Late(BaseException):
    """No `except Exception` on the way may keep it."""
