"""What a run notes of its server: requests, tokens, cost, and rows without a score."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hsd.counted import counted
from hsd.inference.chat_server import ChatServer
from hsd.inference.server_use import Counts, ServerUse

EVERY_S = 5.0
"""Counts are noted so often: a kill forgets no more."""
BUDGET = "the next post could make the run cost more than --max-cost"


@dataclass(slots=True)
class Noted:
    """Writes what one start counts, and that of earlier starts with it."""

    use: ServerUse
    server: ChatServer
    write: Callable[[Counts], object]
    _before: float = 0.0
    """Seconds of blocks that have ended."""
    _begun: float = 0.0
    _last: float = 0.0

    @contextmanager
    def at_the_end(self) -> Iterator[None]:
        """Time a block beside those before it, and note all counts however it ends."""
        self._begun = self._last = self.server.clock()
        try:
            yield
        finally:
            self._note()
            self._before += self._last - self._begun

    def row(self, reason: str) -> None:
        """Take note of a row, and of why it has no score."""
        if reason:
            self.use.unscored(reason)
        if self.server.clock() - self._last >= EVERY_S:
            self._note()

    def _note(self) -> None:
        server, self._last = self.server, self.server.clock()
        seconds = round(self._before + self._last - self._begun, 3)
        self.write(
            self.use.counts(
                requests=server.sent,
                repeated=server.repeated,
                seconds=seconds,
                not_sent=list(server.not_sent),
            )
        )


def spent_said(use: ServerUse) -> str:
    """Return why a run ends whose money is spent; "" where it is not."""
    return f"{BUDGET} {use.config.max_cost:g}" if use.is_spent else ""


def stopped_said(answered: int, of: int, what: str, spent: str = "") -> str:
    """Return what a run that was ended says: by a signal, or since the money is `spent`."""
    said = f"answered {answered} of {of} {what}"
    if spent:
        return f"{said}: {spent}. Run the same command with a larger --max-cost to go on."
    return f"{said}; run the same command again to go on."


def unscored_said(answering: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each reason why rows hold no label, for a run's notes."""
    rows: Mapping[str, int] = answering.get("unscored") or {}
    return [f"{counted(n, 'row')} without a label: {reason}." for reason, n in rows.items()]
