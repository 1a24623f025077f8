"""Put a stopped job back into its queue, unless somebody cancelled it. Standard library alone.

While a job is being ended, SLURM shows COMPLETING for all that ended it: cancelled, out of time,
preempted (measured on 22.05). A requeue would bring a cancelled job back, so the rest of what
`scontrol show job` says has to tell.
"""

import re
import subprocess

from slurm.node.shown_jobs import shown_jobs

_LIMITED = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
_ANSWERS_S = 60


BACK, CANCELLED, STOPPING = "back", "cancelled", "stopping"


def standing(job: str, restart: int) -> str:
    """Return how SLURM sees a job that is stopping: BACK in its queue, CANCELLED, or STOPPING."""
    shown = _shown(job)
    if int(shown.get("Restarts") or 0) > restart:
        return BACK  # preempted: SLURM has put it back already
    return CANCELLED if was_cancelled(shown) else STOPPING


def requeue(job: str) -> str | None:
    """Put a job back into its queue; return why that failed, None when it goes on."""
    try:
        _scontrol("requeue", job)
    except (OSError, subprocess.SubprocessError) as error:
        return f"scontrol requeue failed ({_reason(error)})"
    return None


def was_cancelled(shown: dict[str, str]) -> bool:
    """Return whether a job is being ended for no reason that calls for going on."""
    state = shown.get("JobState", "")
    if state != "COMPLETING":
        return state == "CANCELLED"
    if shown.get("Reason") == "TimeLimit" or shown.get("PreemptTime", "None") != "None":
        return False
    limit, ran = _seconds(shown.get("TimeLimit", "")), _seconds(shown.get("RunTime", ""))
    return limit is None or ran is None or ran < limit


def _shown(job: str) -> dict[str, str]:
    """Return what SLURM says of a job or an element by field; nothing when it does not answer."""
    try:
        said = _scontrol("show", "job", "-o", job)
    except (OSError, subprocess.SubprocessError):
        return {}
    return next(iter(shown_jobs(said)), {})


def _scontrol(*arguments: str) -> str:
    done = subprocess.run(
        ["scontrol", *arguments], capture_output=True, text=True, check=True, timeout=_ANSWERS_S
    )
    return done.stdout


def _seconds(text: str) -> int | None:
    """Return SLURM's [D-]HH:MM:SS in seconds; None for UNLIMITED and the like."""
    if not (found := _LIMITED.fullmatch(text)):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None)
    return said.strip().splitlines()[-1] if isinstance(said, str) and said.strip() else str(error)
