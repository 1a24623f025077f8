"""What is needed to repeat a run: command, code, packages, host, SLURM job, image."""

import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from hsd.io.json_reader import read_object

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", "numpy")
_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_CLUSTER_NAME",
)
_CODE = Path(__file__).parents[2] / "code.json"
"""Beside a copy of the package that was made for jobs: where the copy comes from."""
_FACTS = ("commit", "dirty", "tree")


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Return what is needed to repeat a run: command, code, packages, host, SLURM job, image."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: version for name in ("hsd", *PACKAGES) if (version := _version(name))},
        "git": _code_facts(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "slurm_job": {k: v for k, v in os.environ.items() if k in _SLURM},
        "image_digest": os.environ.get("HSD_IMAGE_DIGEST"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _code_facts() -> dict[str, Any] | None:
    """Return commit and dirty flag of the code that runs; of a copy also its digest, `tree`.

    A copy is not asked of git: it may lie in the checkout of something else.
    """
    if not _CODE.exists():
        return _git()
    return {name: fact for name, fact in read_object(_CODE).items() if name in _FACTS}


def _git() -> dict[str, Any] | None:
    """Return commit and dirty flag of the checkout this lies in; None outside of one."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": said.removesuffix("-dirty"), "dirty": said.endswith("-dirty")}
