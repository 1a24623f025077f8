"""hsd's log lines in a run's own file."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class _Quiet(logging.FileHandler):
    """A file whose disk may be full: what the run writes next says so, and this prints nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def threads_in_a_line() -> Iterator[None]:
    """Within the block, a thread that cannot write is one warning in the log and no traceback.

    TensorBoard writes from a thread of its own. On a full disk that ends in the middle of what
    hsd says of the same disk.
    """
    before = threading.excepthook

    def say(failed: threading.ExceptHookArgs) -> None:
        if isinstance(failed.exc_value, OSError):
            logging.getLogger("hsd").warning("a thread of this process ended: %s", failed.exc_value)
        else:
            before(failed)

    threading.excepthook = say
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def logging_to(file: Path, *, enabled: bool = True) -> Iterator[None]:
    """Within the block, what hsd logs also goes to the end of `file`; only one rank should."""
    if not enabled:
        yield
        return
    handler = _Quiet(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("hsd")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        with suppress(OSError):  # what the disk did not take stays unwritten
            handler.close()
