"""What submitit's job process loads, written where it looks for it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit.core.utils import DelayedSubmission, JobPaths

from slurm.node.payload import Payload
from slurm.node.supervisor import Orders

_TIMEOUTS = 1_000_000
"""submitit counts time-outs only where its own handler requeues; ours has a limit of its own."""


_BEFORE = {Payload: "slurm.payload", Orders: "slurm.supervisor"}
"""Where hsd 0.1 had the classes that are pickled by name."""


def write_pickles(
    folder: Path, orders: Sequence[Orders], time_min: int, code: Path | None = None
) -> list[Path]:
    """Write one pickle for each array element, under names that no job has yet.

    `code` is the copy of the code that the jobs run; one of hsd 0.1 is resubmitted too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with _named_as_in(code):
        for index, order in enumerate(orders):
            delayed = DelayedSubmission(Payload(order))
            delayed.set_timeout(time_min, _TIMEOUTS)
            path = folder / f"task{index}.pkl"
            delayed.dump(path)
            paths.append(path)
    return paths


@contextmanager
def _named_as_in(code: Path | None) -> Iterator[None]:
    """Within the block, pickle the classes under the names that a copy of the code has for them."""
    if code is None or not (code / "slurm" / "payload.py").is_file():
        yield
        return
    today = {each: each.__module__ for each in _BEFORE}
    for each, module in _BEFORE.items():
        sys.modules[module] = sys.modules[today[each]]  # a class is pickled where it can be found
        each.__module__ = module
    try:
        yield
    finally:
        for each, module in _BEFORE.items():
            del sys.modules[module]
            each.__module__ = today[each]


def hand_over(paths: Sequence[Path], folder: Path, job_id: str) -> None:
    """Name the pickles for the elements of a job that was accepted, and is still held."""
    for index, path in enumerate(paths):
        job = JobPaths(folder, job_id=f"{job_id}_{index}")
        path.rename(job.submitted_pickle)


def log_paths(folder: Path, job_id: str, index: int) -> tuple[Path, Path]:
    """Return where an element's stdout and stderr go."""
    job = JobPaths(folder, job_id=f"{job_id}_{index}", task_id=0)
    return job.stdout, job.stderr
