"""The first line of a job's log: where it runs."""

import os

from jobs.terminal.options import is_first_process
from jobs.terminal.output import echo


def is_in_a_job() -> bool:
    """Return whether this process's output is a job's log: in SLURM, or with HSD_JOB=1."""
    return "SLURM_JOB_ID" in os.environ or os.environ.get("HSD_JOB") == "1"


def say_host() -> None:
    """In a job, print the machine's line, once for all processes."""
    if not is_in_a_job() or not is_first_process():
        return
    from hsd.model.host_line import host_line

    echo(host_line())
