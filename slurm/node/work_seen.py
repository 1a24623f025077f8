"""How far the work of an attempt is, as its own progress.json tells. Standard library alone.

Known at a job's end it tells how long the start-up was; with what the next attempt begins from, it
tells how much is done again.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Seen = dict[str, Any]
EVERY_S = 3.0
"""How often it is looked at: the file is written every five seconds."""


def newest_progress(folder: str, pattern: str) -> Seen | None:
    """Return the newest of the files that a pattern names in a folder: its rows or steps.

    None where there is none, or it is damaged or of another hsd.
    """
    files = list(Path(folder).glob(pattern)) if folder and pattern else []
    if not files:
        return None
    try:
        content = json.loads(max(files, key=_written).read_text(encoding="utf-8"))
        began = content["began"]
        return {
            "unit": str(content["unit"]), "done": int(content["done"]),
            "first": int(began["done"]), "first_at": str(began["at"]),
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


class WorkSeen:
    """What one attempt did, looked at now and then: of several sets each has a file of its own."""

    def __init__(
        self, folder: str = "", pattern: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._where, self._clock = (folder, pattern), clock
        self._looked_at: float | None = None
        self.before = newest_progress(*self._where)
        """What an earlier attempt left, which may have had no time to say so."""
        self._first: Seen | None = None
        self._last: Seen | None = None

    def look(self) -> None:
        """Take note of what this attempt has done by now, where it is time to."""
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= EVERY_S:
            self._looked_at = now
            self._take_note()

    def _take_note(self) -> None:
        seen = newest_progress(*self._where)
        if seen is None or (self.before and seen["first_at"] == self.before["first_at"]):
            return
        self._first, self._last = self._first or seen, seen

    def facts(self) -> Seen | None:
        """Return from where to where this attempt came; None where nobody saw it work.

        Of several sets of posts, the first one's beginning and the last one's rows.
        """
        self._take_note()
        if self._first is None or self._last is None:
            return None
        return {**self._last, "first_at": self._first["first_at"]}


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
