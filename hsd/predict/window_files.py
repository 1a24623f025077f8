"""The answers that a run of `hsd predict` has so far: a file for each window of its rows.

A file may grow while its window is answered; shards have files of their own, so that two jobs which
were told different shards never write into one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hsd.errors import EvaluationError
from hsd.io.shard import Shard
from hsd.io.torn_lines import append_rows, whole_lines
from hsd.predict.post_answers import PostAnswer, as_stored

EVERY_S = 5.0
"""Answers are written so often: a kill costs less than that, and a shared disk is not flooded."""
_ANSWER = TypeAdapter(PostAnswer)


def window_file(folder: Path, window: int, shard: Shard) -> Path:
    """Return the file of a window's answers."""
    return folder / f"answers-{window:06}.{shard.name}.jsonl"


def known_answers(folder: Path, window: int, shard: Shard | None = None) -> dict[int, PostAnswer]:
    """Return the answers of a window by row: a shard's own, or of whichever shard has most."""
    if shard is not None:
        return _read(window_file(folder, window, shard))
    files = sorted(folder.glob(f"answers-{window:06}.*.jsonl"))
    return max(map(_read, files), key=len, default={})


def all_answers(folder: Path, window: int | None = None) -> Iterator[PostAnswer]:
    """Yield the answers of all shards, of all windows or of one; several of a row may be there."""
    pattern = "answers-*.jsonl" if window is None else f"answers-{window:06}.*.jsonl"
    for file in sorted(folder.glob(pattern)):
        yield from _read(file).values()


def remove_answers(folder: Path) -> None:
    """Remove all windows' files, once their answers are in the table."""
    for file in folder.glob("answers-*.jsonl"):
        file.unlink(missing_ok=True)


class AnswerWriter:
    """Appends answers to a window's file, a few seconds' worth at a time; `close` writes the rest.

    Nothing more is written once `is_lost` says that the folder is another process's.
    """

    def __init__(
        self,
        file: Path,
        is_lost: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        every_s: float | None = None,
    ) -> None:
        self._every_s = EVERY_S if every_s is None else every_s
        self._file, self._is_lost, self._clock = file, is_lost, clock
        self._pending: list[PostAnswer] = []
        self._written = clock()

    def add(self, answers: Sequence[PostAnswer]) -> None:
        """Take answers, and write all there are where it is time to."""
        self._pending.extend(answers)
        if self._clock() - self._written >= self._every_s:
            self.close()

    def close(self) -> None:
        """Write what is pending."""
        if self._pending and not self._is_lost():
            append_rows(self._file, map(as_stored, self._pending))
        self._pending = []
        self._written = self._clock()


def _read(file: Path) -> dict[int, PostAnswer]:
    found = {}
    for number, line in enumerate(whole_lines(file), start=1):
        try:
            answer = _ANSWER.validate_json(line)
        except ValidationError:
            raise EvaluationError(
                f"{file}:{number}: not an answer of hsd predict; remove the file, and the same "
                "command answers its rows again."
            ) from None
        found[answer.row] = answer
    return found
