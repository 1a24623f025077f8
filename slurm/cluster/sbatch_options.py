"""Which options of sbatch a profile may add under [slurm.extra]. Pure."""

import re
from collections.abc import Mapping

from slurm.cluster.stage_config import GpuRequest

_OPTION = re.compile(r"[a-z][a-z0-9-]*")
_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DECIDED = {
    "array": "an element is a cell",
    "chdir": "a job runs where its run is",
    "comment": "a job is known by the comment that hsd gives it",
    "dependency": "hsd says what a stage waits for",
    "error": "logs are in the run's folder",
    "export": "[env] says what jobs see",
    "export-file": "[env] says what jobs see",
    "gid": "jobs are yours",
    "hold": "jobs are held until all were accepted",
    "input": "jobs read no input",
    "job-name": "a job is known by the name that hsd gives it",
    "kill-on-invalid-dep": "[slurm] kill_on_invalid_dep says so",
    "no-requeue": "[slurm] requeue says so",
    "open-mode": "logs are appended to by each attempt",
    "output": "logs are in the run's folder",
    "parsable": "hsd reads what sbatch prints",
    "requeue": "[slurm] requeue says so",
    "signal": "[slurm] signal_seconds says so",
    "test-only": "jobs are to run",
    "uid": "jobs are yours",
    "wait": "hsd goes on when a job was accepted",
    "wrap": "the script is hsd's",
}
"""What hsd decides, and why or where."""


_GPU = re.compile(r"(gres[:/])?gpu\b")


def wrong_options(extra: Mapping[str, str], gpu_request: GpuRequest | None = None) -> list[str]:
    """Return a line for each option that is none, or is hsd's to decide.

    `gpu_request` is the option that asks for GPUs already; None where no stage has any.
    """
    lines = (_wrong(key, value) or _twice(key, value, gpu_request) for key, value in extra.items())
    return [line for line in lines if line]


def _twice(key: str, value: str, gpu_request: GpuRequest | None) -> str | None:
    """Refuse GPUs in both forms: 26.05 does, and before it the forms had to agree."""
    other = "gres" if gpu_request == "gpus-per-node" else "gpus-per-node"
    named = other != "gres" or any(_GPU.match(part) for part in value.split(","))
    if gpu_request is None or key.replace("_", "-") != other or not named:
        return None
    return (
        f"slurm.extra.{key}: GPUs are requested by --{gpu_request} already ([slurm] gpu_request), "
        f"and SLURM does not take both; leave GPUs out of slurm.extra.{key}"
    )


def _wrong(key: str, value: str) -> str | None:
    option = key.replace("_", "-")  # as submitit writes it
    if not _OPTION.fullmatch(option):
        return f"slurm.extra: {key!r} is no option of sbatch; expected one's name, as mail-type"
    place = f"slurm.extra.{key}"
    # sbatch takes the beginning of an option's name for the whole of it.
    if meant := next((known for known in _DECIDED if known.startswith(option)), None):
        return f"{place}: {meant} cannot be set here: {_DECIDED[meant]}; leave it out"
    if option == "clusters" and not _CLUSTER.fullmatch(value):
        return f"{place}: {value!r} is not accepted (expected the name of one cluster)"
    return None
