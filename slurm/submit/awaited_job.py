"""The job that a command is to wait for: whether it still comes to its end, and may end well."""

from collections.abc import Mapping

from hsd.errors import PreflightError
from slurm.cluster.client import CommandFailed, Slurm
from slurm.cluster.parse import parse_accounting
from slurm.node.shown_jobs import shown_jobs

_WELL = {
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "COMPLETED",
}  # fmt: skip


def still_to_wait(job: str, slurm: Slurm) -> bool:
    """Return whether a job is still to be waited for; False when it has ended well.

    Looked up first: SLURM accepts `afterok` of a job that failed, or never was, and would then
    start at once or never, by its version. Raises PreflightError for those.
    """
    try:
        shown = shown_jobs(slurm.text("scontrol", "show", "job", "-o", job))
    except CommandFailed as error:
        if error.ambiguous:
            raise
        shown = []
    # The controller forgets an element of an array some minutes after its end, while others go on.
    known = _ended(slurm.accounting([job]) or "", shown) | _shown(shown)
    states = set(known.values())
    if not states:
        raise PreflightError(f"--after {job}: SLURM knows no such job; see `squeue` and `sacct`.")
    if broken := states - _WELL:
        word = ", ".join(sorted(broken))
        raise PreflightError(f"--after {job}: it is {word}, so this would never start.")
    return states != {"COMPLETED"}


def _shown(jobs: list[dict[str, str]]) -> dict[str, str]:
    """Return the state of each job or element by the id that sacct gives it."""
    return {_id(one): one["JobState"] for one in jobs if "JobState" in one}


def _ended(told: str, shown: list[dict[str, str]]) -> dict[str, str]:
    """Return the same of the accounting, which knows older jobs of the same id too.

    The last attempt counts: those before it were requeued.
    """
    since = min((one["SubmitTime"] for one in shown if "SubmitTime" in one), default="")
    last = {job: attempts[-1] for job, attempts in parse_accounting(told).items()}
    return {job: one.state for job, one in last.items() if one.submit >= since}


def _id(shown: Mapping[str, str]) -> str:
    if "ArrayJobId" not in shown:
        return shown["JobId"]
    return f"{shown['ArrayJobId']}_{shown.get('ArrayTaskId', '')}"
