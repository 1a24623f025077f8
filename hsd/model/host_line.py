"""The machine that a command runs on, in one line: the head of every job's log."""

import os
import platform
import re
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

_DRIVER = Path("/proc/driver/nvidia/version")
_IN_CONTAINER = (
    "HSD_CONTAINER", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "CH_RUNNING", "container",
)  # fmt: skip
"""Set by hsd's own wrapper, Apptainer, its forebear, Charliecloud, and by Podman."""
_OF_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


@dataclass(frozen=True, slots=True)
class Host:
    """What a run found on its node. None is what is not there or cannot be known."""

    name: str
    python: str
    torch: str
    cuda: str | None
    """The CUDA that torch was built with."""
    driver: str | None
    gpus: tuple[str, ...]
    """Names of the GPUs that this process sees."""
    cores: int
    """Cores that this process may use."""
    all_cores: int
    container: str | None
    """Digest of the image, empty when a container does not tell it."""

    def line(self) -> str:
        """Return it as `host NODE: python 3.11.7, torch ..., 4 x A100-SXM4-80GB, ...`."""
        parts = (
            f"python {self.python}",
            f"torch {self.torch}",
            f"CUDA {self.cuda} (driver {self.driver or 'unknown'})" if self.cuda else "no CUDA",
            _counted(self.gpus) or "no GPU",
            f"{self.cores} of {self.all_cores} cores",
            _image(self.container),
        )
        return f"host {self.name}: {', '.join(parts)}"


def host_line() -> str:
    """Return this machine's line."""
    return this_host().line()


def this_host() -> Host:
    """Return what this process finds."""
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return Host(
        name=socket.gethostname(),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        driver=driver_version(_DRIVER.read_text()) if _DRIVER.exists() else None,
        gpus=tuple(torch.cuda.get_device_name(number) for number in gpus),
        cores=len(os.sched_getaffinity(0)),
        all_cores=os.cpu_count() or 1,
        container=container_name(os.environ, any(path.exists() for path in _OF_CONTAINERS)),
    )


def driver_version(text: str) -> str | None:
    """Return the version in /proc/driver/nvidia/version; None when it stands there otherwise.

    The line is `NVRM version: NVIDIA UNIX ... Kernel Module  580.65.06  Release Build ...`.
    """
    first = next((line for line in text.splitlines() if line.startswith("NVRM")), "")
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", first)
    return found[1] if found else None


def container_name(environ: Mapping[str, str], marked: bool) -> str | None:
    """Return the digest of the image this runs in, empty when it is unknown; None outside of one.

    `marked`: a container runtime left a file of its own.
    """
    if digest := environ.get("HSD_IMAGE_DIGEST"):
        return digest
    return "" if marked or any(environ.get(name) for name in _IN_CONTAINER) else None


def _image(container: str | None) -> str:
    if container is None:
        return "no container"
    return f"image {container}" if container else "a container that does not tell its image"


def _counted(names: tuple[str, ...]) -> str:
    """Return `4 x A100-SXM4-80GB`; kinds are joined by a plus."""
    counts = Counter(name.removeprefix("NVIDIA ") for name in names)
    return " + ".join(f"{count} x {name}" for name, count in counts.items())
