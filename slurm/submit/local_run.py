"""The same plan on this machine, one element after another: a sweep is tried without a cluster.

The same orders under the same supervisor, which write the same files; only the queue is missing.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hsd.errors import Stopped
from hsd.io.provenance import now
from slurm.cluster.environment import scrubbed
from slurm.node.job_context import Here
from slurm.node.supervisor import STOPPED, Orders, supervise
from slurm.run import submissions
from slurm.run.submissions import Submitted
from slurm.submit.pickles import log_paths
from slurm.submit.submission import SubmissionBundle, for_owner_alone
from slurm.sweep.plan import ALL
from slurm.sweep.stage import Stage


@dataclass(frozen=True, slots=True)
class Ended:
    """How one element ended; `code` is None when what it waits for had failed."""

    stage: str
    cell: str
    code: int | None
    log: Path


Began = Callable[[str, str, Path], None]
"""Called with stage, cell and log when an element starts."""


def run_here(
    prepared: SubmissionBundle,
    began: Began = lambda stage, cell, log: None,  # noqa: ARG005
) -> Iterator[Ended]:
    """Run every element, in the order of the plan; yield how each ended.

    An element whose own training failed is not run; the comparison always is. Raises Stopped when
    one was stopped on request: the same command goes on.
    """
    failed: set[str] = set()
    for stage in prepared.plan.stages:
        job = f"local{prepared.number}"
        submitted = _submitted(prepared, stage, job)
        with for_owner_alone():
            submissions.append_submission(prepared.plan.folder.path, submitted)
        for index, task in enumerate(stage.tasks):
            out, _ = log_paths(prepared.folder(stage), submitted.job_id, index)
            if task.cell in failed and task.cell != ALL:
                yield Ended(stage.of, task.cell, None, out)
                continue
            began(stage.of, task.cell, out)
            order = prepared.orders[stage.name][index]
            code, asked = _element(prepared, stage, order, submitted.element_id(index), index)
            if code == STOPPED or asked:
                raise Stopped(
                    f"stopped in {stage.of} of {task.cell}; the same command goes on from there."
                )
            if code:
                failed.add(task.cell)
            yield Ended(stage.of, task.cell, code, out)


def _submitted(prepared: SubmissionBundle, stage: Stage, job: str) -> Submitted:
    return Submitted(
        number=prepared.number,
        stage=stage.name,
        kind=stage.of,
        job_id=f"{job}-{stage.name}",
        cells=tuple(task.cell for task in stage.tasks),
        at=now(),
        gpus=stage.resources.gpus * stage.resources.nodes,
        time_min=stage.resources.time_min,
    )


def _element(
    prepared: SubmissionBundle, stage: Stage, order: Orders, element: str, index: int
) -> tuple[int, bool]:
    """Run one element under the supervisor, its output in files as on a cluster.

    Return its exit code, and whether it was asked to stop: it may have ended well all the same.
    """
    folder = prepared.folder(stage)
    with for_owner_alone(), tempfile.TemporaryDirectory(prefix="hsd-") as scratch:
        folder.mkdir(parents=True, exist_ok=True)
        out, error = log_paths(folder, element.rpartition("_")[0], index)
        with out.open("ab") as to_out, error.open("ab") as to_error:
            here = Here(
                job=element,
                restart=0,
                node=0,
                nodes=(os.uname().nodename,),
                environ=environment(prepared) | {"HSD_SCRATCH": scratch},
                streams=(to_out, to_error),
            )
            return supervise(order, here), bool(here.asked)


def environment(prepared: SubmissionBundle) -> dict[str, str]:
    """Return what a job's script would export, but for the caches of a node."""
    profile = prepared.profile
    return (
        scrubbed(os.environ, profile.env.passed)
        | {
            "HSD_RUN": str(prepared.plan.folder.path),
            "HSD_JOB": "1",
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": str(prepared.code),
        }
        | ({} if profile.compute_internet else {"HF_HUB_OFFLINE": "1"})
        | dict(profile.env.set)
        | {name: str(path) for name, path in profile.secrets.items()}
    )
