"""Where it was measured, and what must be set before Python starts."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("hsd", "torch", "transformers", "peft", "accelerate", "trl", "lm-eval", "tokenizers")

MALLOC = {
    # With glibc's own values every large tensor is mapped and unmapped anew: page faults would
    # be a good part of what is measured, of all contenders.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}


def wanted(threads: int) -> dict[str, str]:
    """Return the environment of everything that is measured."""
    return MALLOC | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",  # its threads would not survive a fork
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }


def restart_with(variables: dict[str, str]) -> None:
    """Start this very command again unless these variables are set: they count at the start."""
    if any(os.environ.get(name) != value for name, value in variables.items()):
        arguments = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | variables)


def processor() -> str:
    """Return the processor's name with its number of cores."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Return the versions of everything that may matter, of what is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
