"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def until(
    found: Callable[[], T | Literal[False] | None],
    what: str,
    seconds: float = 60,
    every: float = 0.05,
) -> T:
    """Return the first true value of `found()`; fail with `what` after `seconds` of waiting."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(every)
    return value
