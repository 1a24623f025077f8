"""hsd's commands in real processes, as a launcher starts them, which can strike themselves down.

The processes are forks of a server that has imported the libraries once: a start costs a tenth of
a second instead of eight.
"""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *(
            "hsd.training.training_run",
            "hsd.evaluation.evaluate",
            "hsd.predict.predict_file",
            "hsd.model.merge",
            "torch.distributed",
        ),
        *(
            "hsd.config.loading",
            "jobs.terminal.number_tables",
            "jobs.terminal.progress_bar",
            "pytest",
            "sklearn.metrics",
        ),
    ]
)
PATIENCE_S = 300
"""A process that has not ended by then hangs, and is killed, so that its test fails."""


@dataclass(frozen=True)
class Blow:
    """Signals that a rank sends itself: while `what` is at step `at`.

    `what` is `loading`, `saving`, or the end of what progress is reported of, such as `training`.
    """

    signals: Sequence[int]
    at: int
    what: str = "training"
    rank: int = 0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (-9 for SIGKILL) and all that it printed."""

    code: int | None
    said: str


def hsd_train(
    folder: Path, arguments: Sequence[str], ranks: int = 1, blow: Blow | None = None
) -> list[Ended]:
    """Run `hsd train` in `ranks` processes and return how each ended."""
    return hsd_command("train", folder, arguments, ranks, blow)


def hsd_command(
    command: str,
    folder: Path,
    arguments: Sequence[str],
    ranks: int = 1,
    blow: Blow | None = None,
    *,
    launcher: bool = True,
) -> list[Ended]:
    """Run one of hsd's commands in `ranks` processes and return how each ended.

    When one is killed the others are, too, as torchrun does it; not so without a `launcher`.
    """
    started = start_command(command, folder, arguments, ranks, blow)
    struck = started.processes[blow.rank if blow else 0]
    struck.join(PATIENCE_S)
    if launcher and struck.exitcode and struck.exitcode < 0:
        started.kill()
    return started.ended()


@dataclass(frozen=True)
class Started:
    """The processes of a command that runs, by rank, and the files that they print into."""

    processes: Sequence[Any]
    outputs: Sequence[Path]

    def kill(self) -> None:
        """Send SIGKILL to all of them."""
        for process in self.processes:
            process.kill()

    def ended(self) -> list[Ended]:
        """Wait for all of them, kill those that hang, and return how each ended."""
        for process in self.processes:
            process.join(PATIENCE_S)
            if process.exitcode is None:
                process.kill()
                process.join()
        pairs = zip(self.processes, self.outputs, strict=True)
        return [Ended(process.exitcode, output.read_text()) for process, output in pairs]


def start_command(
    command: str,
    folder: Path,
    arguments: Sequence[str],
    ranks: int = 1,
    blow: Blow | None = None,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> Started:
    """Start one of hsd's commands in `ranks` processes, which print into `folder`.

    Each calls `prepare` before it does anything, such as to spoil what it will use.
    """
    outputs = [folder / f"rank{rank}.txt" for rank in range(ranks)]
    launch = {"WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    processes = []
    for rank, output in enumerate(outputs):
        output.touch()
        place = launch | {"RANK": rank, "LOCAL_RANK": rank} if ranks > 1 else {}
        own = blow if blow and blow.rank == rank else None
        everywhere = {name: str(value) for name, value in place.items()} | dict(environment or {})
        program = (command, arguments, everywhere, output, own, prepare)
        processes.append(FORKS.Process(target=_program, args=program))
    for process in processes:
        process.start()
    return Started(processes, outputs)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _program(
    command: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    output: Path,
    blow: Blow | None,
    prepare: Callable[[], None] | None,
) -> None:
    os.environ.update(environment)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [f"hsd {command}", *arguments]
    from jobs.terminal.entry import run

    if blow is not None:
        _prepare(blow)
    if prepare is not None:
        prepare()
    run(getattr(import_module(f"jobs.{command}"), command))


def _prepare(blow: Blow) -> None:
    from hsd.model.families import Attention, attention_for
    from hsd.training.checkpoints import mark_complete

    def strike(done: int, total: int, what: str) -> None:
        if what.endswith(blow.what) and done == blow.at:
            for number in blow.signals:
                os.kill(os.getpid(), number)

    @contextmanager
    def striking() -> Iterator[object]:
        yield strike

    def saving(folder: Path, step: int) -> None:
        strike(step, 0, "saving")
        mark_complete(folder, step)

    def loading(*arguments: Any) -> Attention:
        strike(0, 0, "loading")
        return attention_for(*arguments)

    patch = pytest.MonkeyPatch()  # never undone: the process ends
    patch.setattr("jobs.terminal.progress_bar.progress_bars", striking)
    patch.setattr("hsd.training.trainer.mark_complete", saving)
    patch.setattr("hsd.model.base.attention_for", loading)
