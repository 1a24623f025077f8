"""How the library tells a caller how far it is, without printing anything itself."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called with work done, work in all, and what the work is."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take note that `done` of `total` units of `what` are finished."""


def silent(done: int, total: int, what: str) -> None:
    """Ignore all progress: the default of every long call."""


Say = Callable[[str], None]
"""Called with a sentence that a person at the terminal wants to read at once."""


def unsaid(sentence: str) -> None:
    """Ignore what is said: the default of every long call."""
