"""What a machine has for models: driver, GPUs, libraries, memory, folders it can write to.

Asked inside a container image as on a host; hsd.model.doctor_verdicts decides what it means.
"""

import ctypes
import importlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from hsd.hub.cache import hf_home
from hsd.io.provenance import PACKAGES
from hsd.model.host_line import driver_version
from hsd.model.speed import Timings, time_layers

_DRIVER = Path("/proc/driver/nvidia/version")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One visible GPU."""

    name: str
    capability: tuple[int, int]
    memory_gb: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What was seen of this machine. Versions of CUDA are (major, minor)."""

    driver: str | None = None
    """Of NVIDIA's kernel module; None without one."""
    driver_cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver can run; None where it could not be asked."""
    torch_cuda: tuple[int, int] | None = None
    """What torch was built for; None for a CPU build."""
    architectures: tuple[str, ...] = ()
    """GPU code in this torch: sm_80, compute_90."""
    gpus: tuple[Gpu, ...] = ()
    writable: Mapping[str, str | None] | None = None
    """Folder by its variable -> why it cannot be written, None when it can."""
    shm_gb: float | None = None
    compiler: str | None = None
    cores: int = 1
    memory_gb: float | None = None
    timings: Timings | None = None
    """What a piece of training takes on the CPU in each number format; None where a GPU trains."""
    allocator: str | None = None
    """What takes the place of libc's own, such as tcmalloc; None for libc's own."""
    bitsandbytes: str | None = None
    """Why it cannot be used; None when it can."""
    versions: Mapping[str, str] | None = None


def probe_machine() -> Machine:
    """Look at this machine; it is not changed, but for a file that is made and removed."""
    gpus = _gpus()
    return Machine(
        driver=_driver(),
        driver_cuda=_driver_cuda(),
        torch_cuda=_pair(torch.version.cuda),
        architectures=tuple(torch.cuda.get_arch_list()) if torch.version.cuda else (),
        gpus=gpus,
        writable=_writable(os.environ),
        shm_gb=_size_gb(Path("/dev/shm")),
        compiler=next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=memory_gb(),
        timings=None if gpus else time_layers(),
        allocator=allocator(),
        bitsandbytes=_bitsandbytes(),
        versions={"python": platform.python_version(), **_versions()},
    )


def memory_gb(limits: tuple[str, ...] = _LIMITS) -> float | None:
    """Return the memory that this process may use: the machine's, or its container's if less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = [total] if total > 0 else []
    for file in map(Path, limits):
        text = file.read_text().strip() if file.is_file() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found) / 1e9 if found else None


def swap_gb(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Return what the machine may put aside on disk: slow, but what fits there runs."""
    text = meminfo.read_text() if meminfo.is_file() else ""
    found = re.search(r"^SwapTotal:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 / 1e9 if found else 0.0


def allocator(maps: Path = Path("/proc/self/maps")) -> str | None:
    """Return the name of what was loaded in place of libc's allocator, None for libc's own."""
    text = maps.read_text() if maps.is_file() else ""
    found = re.search(r"/lib(tcmalloc|jemalloc|mimalloc)[^/\n]*\.so", text)
    return found[1] if found else None


def why_unwritable(folder: Path) -> str | None:
    """Return why nothing can be written into a folder, or made where it will be."""
    where = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=where):
            return None
    except OSError as error:
        return f"{where} cannot be written ({error.strerror})"


def _driver() -> str | None:
    if not _DRIVER.is_file():
        return None
    return driver_version(_DRIVER.read_text(encoding="utf-8", errors="replace")) or "unknown"


def _driver_cuda() -> tuple[int, int] | None:
    """Return what CUDA's own library says; None where it is not there."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return version.value // 1000, version.value % 1000 // 10


def _gpus() -> tuple[Gpu, ...]:
    if not torch.cuda.is_available():
        return ()
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return tuple(Gpu(p.name, (p.major, p.minor), p.total_memory / 1e9) for p in properties)


def _writable(environ: Mapping[str, str]) -> dict[str, str | None]:
    home = Path(environ.get("HOME") or "/")
    hub = hf_home(environ)
    folders = {f"HOME {home}": home, f"HF_HOME {hub}": hub}
    return {name: why_unwritable(folder) for name, folder in folders.items()}


def _size_gb(folder: Path) -> float | None:
    return shutil.disk_usage(folder).total / 1e9 if folder.is_dir() else None


def _bitsandbytes() -> str | None:
    try:
        module: Any = importlib.import_module("bitsandbytes.cextension")
    except (ImportError, OSError, RuntimeError) as error:
        return f"cannot be imported: {' '.join(str(error).split())[:200]}"
    return native_reason(type(getattr(module, "lib", None)).__name__, torch.cuda.is_available())


def native_reason(library: str, has_gpu: bool) -> str | None:
    """Return what is wrong by the class of the library that bitsandbytes loaded.

    Where its own is missing it takes an object that fails at the first use, or the CPU's.
    """
    if "Error" in library:
        return "imports, but its native library is missing"
    if has_gpu and "Cuda" not in library:
        return "imports, but without its library for CUDA"
    return None


def _versions() -> dict[str, str]:
    found = {}
    for name in ("hsd", *PACKAGES, "huggingface_hub"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _pair(version: str | None) -> tuple[int, int] | None:
    parts = (version or "").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 else None
