"""Whether models can run on this machine, decided from what hsd.model.doctor_probes saw of it."""

import re
from collections.abc import Iterator, Mapping

from hsd.checks import Check
from hsd.model.doctor_probes import Machine, probe_machine
from hsd.model.speed import faster

LEAST_SHM_GB = 1.0
"""Several ranks and loaders exchange tensors there; a container of docker's has 64 MB."""
LEAST_MEMORY_GB = 4.0
SLOW_ALLOCATOR = (
    "libc's own; a training step on this CPU takes about 1.3 times as long as with tcmalloc"
)
PRELOAD = (
    "install it (Debian: libtcmalloc-minimal4), and start hsd with "
    "LD_PRELOAD=libtcmalloc_minimal.so.4"
)
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)[a-z]?")


def examine_machine() -> list[Check]:
    """Return what is right and wrong with this machine."""
    return judge_machine(probe_machine())


def judge_machine(seen: Machine) -> list[Check]:
    """Decide from what was seen."""
    return [
        driver_check(seen),
        *gpu_checks(seen),
        *folder_checks(seen.writable or {}),
        shm_check(seen.shm_gb, len(seen.gpus)),
        compiler_check(seen.compiler, bool(seen.gpus)),
        _memory_check(seen),
        *cpu_checks(seen),
        bitsandbytes_check(seen.bitsandbytes, bool(seen.gpus)),
        Check("versions", True, ", ".join(f"{k} {v}" for k, v in (seen.versions or {}).items())),
    ]


def driver_check(seen: Machine) -> Check:
    """Compare what torch was built for with what the driver can run."""
    built = f"torch for CUDA {_dotted(seen.torch_cuda)}" if seen.torch_cuda else "torch for CPUs"
    if seen.driver is None:
        return Check("driver", True, f"no NVIDIA driver, {built}: models run on the CPU")
    if seen.torch_cuda is None:
        line = f"driver {seen.driver}, but this is {built}, which leaves GPUs idle"
        return Check("driver", None, line, "install a CUDA build of torch, or use the CUDA image")
    if seen.driver_cuda is not None and seen.driver_cuda[0] < seen.torch_cuda[0]:
        newest = _dotted(seen.driver_cuda)
        line = f"driver {seen.driver} runs CUDA {newest} at most, but this is {built}"
        fix = f"a torch built for CUDA {seen.driver_cuda[0]}, or a newer driver"
        return Check("driver", False, line, fix)
    if not seen.gpus:
        line = f"driver {seen.driver}, {built}, but torch sees no GPU"
        return Check("driver", None, line, "check nvidia-smi, CUDA_VISIBLE_DEVICES, --nv or --gpus")
    newest = f" (CUDA {_dotted(seen.driver_cuda)})" if seen.driver_cuda else ""
    return Check("driver", True, f"{seen.driver}{newest}, {built}")


def gpu_checks(seen: Machine) -> Iterator[Check]:
    """Say for each GPU whether this torch has code for it."""
    for number, gpu in enumerate(seen.gpus):
        major, minor = gpu.capability
        line = f"{gpu.name}, {gpu.memory_gb:.0f} GB, sm_{major}{minor}"
        if runs_on(gpu.capability, seen.architectures):
            yield Check(f"GPU {number}", True, line)
        else:
            has = " ".join(seen.architectures) or "none"
            fix = f"a torch that was built for sm_{major}{minor}"
            yield Check(f"GPU {number}", False, f"{line}; this torch has code for {has}", fix)


def runs_on(capability: tuple[int, int], architectures: tuple[str, ...]) -> bool:
    """Return whether a GPU can run one of the builds.

    Machine code (sm_) runs on its own major version from its minor on, PTX (compute_) on all
    that is newer.
    """
    for kind, *numbers in filter(None, map(_built_for, architectures)):
        built = (numbers[0], numbers[1])
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return True
    return False


def folder_checks(writable: Mapping[str, str | None]) -> Iterator[Check]:
    """Say which folder cannot be written."""
    for name, reason in writable.items():
        fix = f"set {name.split(' ')[0]} to a folder of yours" if reason else ""
        yield Check(name, reason is None, reason or "writable", fix)


def shm_check(size_gb: float | None, gpus: int) -> Check:
    """Judge the memory that processes share."""
    if size_gb is None:
        return Check("/dev/shm", None, "is not there", "several ranks need it")
    if size_gb < LEAST_SHM_GB and gpus != 1:
        line = f"{size_gb:.2f} GB; several ranks may need more"
        return Check("/dev/shm", None, line, "start the container with --ipc=host or --shm-size=8g")
    return Check("/dev/shm", True, f"{size_gb:.2f} GB")


def compiler_check(compiler: str | None, has_gpu: bool) -> Check:
    """Triton compiles a small C file the first time it runs."""
    if compiler is None and has_gpu:
        return Check("C compiler", None, "none; Triton's kernels need one", "install gcc")
    return Check("C compiler", True, compiler or "none, and none is needed on a CPU")


def cpu_checks(seen: Machine) -> Iterator[Check]:
    """Say what training takes where there is no GPU for it."""
    if seen.gpus:
        return
    if seen.timings is not None:
        dtype, _ = faster(seen.timings)
        exact, coarse = seen.timings.float32 * 1000, seen.timings.bfloat16 * 1000
        took = f"the same work took {exact:.1f} ms in float32, {coarse:.1f} ms in bfloat16"
        taken = str(dtype).removeprefix("torch.")
        yield Check("number format", True, f"{took}: model.dtype=auto trains in {taken}")
    if seen.allocator is None:
        yield Check("memory allocator", True, SLOW_ALLOCATOR, PRELOAD)
    else:
        yield Check("memory allocator", True, seen.allocator)


def bitsandbytes_check(reason: str | None, has_gpu: bool) -> Check:
    """Without it nothing is loaded in 4 bit, which only GPUs do."""
    if reason is None:
        return Check("bitsandbytes", True, "imports, with its library")
    fix = "install one for torch's CUDA, or set model.quantization=none"
    return Check("bitsandbytes", False if has_gpu else None, reason, fix)


def _memory_check(seen: Machine) -> Check:
    cores = "1 core" if seen.cores == 1 else f"{seen.cores} cores"
    if seen.memory_gb is None:
        return Check("memory", None, f"not known; {cores}")
    few = seen.memory_gb < LEAST_MEMORY_GB
    line = f"{seen.memory_gb:.1f} GB, {cores} that this process may use"
    return Check("memory", None if few else True, line, "small bases only" if few else "")


def _built_for(architecture: str) -> tuple[str, int, int] | None:
    match = _ARCHITECTURE.fullmatch(architecture)
    return (match[1], int(match[2]), int(match[3])) if match else None


def _dotted(version: tuple[int, int] | None) -> str:
    return ".".join(map(str, version or ()))
