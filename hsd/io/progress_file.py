"""progress.json: how far a run is, for whoever watches its folder. It stays when the run ends."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hsd.io.files import write_json
from hsd.io.provenance import now
from hsd.io.shard import Shard

PROGRESS = "progress.json"
EVERY_S = 5.0


def progress_name(shard: Shard) -> str:
    """Return the name of the file; each of several shards in one folder writes its own."""
    return PROGRESS if shard.is_whole else f"progress.shard-{shard.name}.json"


class ProgressFile:
    """Writes how far a run is when it begins, and then every five seconds at most.

    `began` in the file is where this start began, so that a pace can be told from it: rows and
    steps of earlier starts took none of its time.
    """

    def __init__(
        self, folder: Path, unit: str, shard: Shard = Shard(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._path, self._unit, self._clock = folder / progress_name(shard), unit, clock
        self._began: dict[str, Any] | None = None
        self._written = 0.0

    def __call__(self, count: Callable[[], int], total: int, *, is_end: bool = False) -> None:
        """Write how far the run is, where it is time to; `count` says how much is done.

        At its end it is time to: what a start did is told from it, however short it was.
        """
        at = self._clock()
        if self._began is not None and not is_end and at - self._written < EVERY_S:
            return
        self._written, done = at, count()
        self._began = self._began or {"done": done, "at": now()}
        content = {"unit": self._unit, "done": done, "total": total, "at": now()}
        with suppress(OSError):  # what only watchers read ends no run; a full disk shows elsewhere
            write_json(self._path, content | {"began": self._began})
