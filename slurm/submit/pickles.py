"""What submitit's job process loads, written where it looks for it."""

from collections.abc import Sequence
from pathlib import Path

from submitit.core.utils import DelayedSubmission, JobPaths

from slurm.node.payload import Payload
from slurm.node.supervisor import Orders

_TIMEOUTS = 1_000_000
"""submitit counts time-outs only where its own handler requeues; ours has a limit of its own."""


def write_pickles(folder: Path, orders: Sequence[Orders], time_min: int) -> list[Path]:
    """Write one pickle for each array element, under names that no job has yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, order in enumerate(orders):
        delayed = DelayedSubmission(Payload(order))
        delayed.set_timeout(time_min, _TIMEOUTS)
        path = folder / f"task{index}.pkl"
        delayed.dump(path)
        paths.append(path)
    return paths


def hand_over(paths: Sequence[Path], folder: Path, job_id: str) -> None:
    """Name the pickles for the elements of a job that was accepted, and is still held."""
    for index, path in enumerate(paths):
        job = JobPaths(folder, job_id=f"{job_id}_{index}")
        path.rename(job.submitted_pickle)


def log_paths(folder: Path, job_id: str, index: int) -> tuple[Path, Path]:
    """Return where an element's stdout and stderr go."""
    job = JobPaths(folder, job_id=f"{job_id}_{index}", task_id=0)
    return job.stdout, job.stderr
