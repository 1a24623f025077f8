"""Progress bars on a terminal, and a line now and then where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from hsd.io.progress import Progress, silent
from jobs.terminal.console import Terminal, escape
from jobs.terminal.options import is_first_process
from jobs.terminal.output import echo

LINE_EVERY_SECONDS = 30.0
SHORTEST_SECONDS = 1.0
"""A pace is told of no shorter time."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Yield what hsd's long calls report to. Under a launcher only the first process shows it."""
    console = Terminal(stderr=True)
    if not is_first_process():
        yield silent
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Pace())
        with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bars:
            yield _OnTerminal(bars)
    else:
        yield _Lines(console)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show on a terminal that a command of a few seconds is at work."""
    console = Terminal(stderr=True)
    with console.status(f"{what} ...") if console.is_terminal else nullcontext():
        yield


def say(sentence: str) -> None:
    """Show a sentence at once, above the bars; under a launcher only the first process does."""
    if is_first_process():
        echo(sentence, err=True)


class _Pace(ProgressColumn):
    """Units a second, once there are some."""

    def render(self, task: Task) -> Text:
        """Return `12.3/s`."""
        pace = task.finished_speed or task.speed
        return Text(f"{pace:,.1f}/s" if pace else "", style="progress.data.speed")


class _OnTerminal:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(escape(what), total=total)
        if done < self._done.get(what, 0):
            self._bars.reset(self._tasks[what])
        self._done[what] = done
        self._bars.update(self._tasks[what], completed=done, total=total)


class _Lines:
    """For log files: the first report, the last, and one every half minute.

    Each but the first says the pace since the first, and the time left at that pace. Rows that are
    gone through again, such as validation rows, begin anew.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, float] = {}
        self._first: dict[str, tuple[int, float]] = {}
        self._done: dict[str, int] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if done < self._done.get(what, 0):
            del self._first[what], self._shown[what]
        self._done[what] = done
        due = now - self._shown.get(what, -LINE_EVERY_SECONDS) >= LINE_EVERY_SECONDS
        if due or done == total:
            pace = self._pace(done, total, what, now)
            self._shown[what] = now
            self._console.print(f"{escape(what)}: {done} of {total}{pace}", highlight=False)

    def _pace(self, done: int, total: int, what: str, now: float) -> str:
        first, at = self._first.setdefault(what, (done, now))
        if done <= first or now - at < SHORTEST_SECONDS:
            return ""
        a_second = (done - first) / (now - at)
        left = timedelta(seconds=round((total - done) / a_second))
        return f" ({a_second:,.1f}/s, {left} left)" if done < total else f" ({a_second:,.1f}/s)"
