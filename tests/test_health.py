"""hsd/model/doctor_verdicts.py: what is decided from what was seen; no GPU is needed to test it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsd.checks import Check
from hsd.model.doctor_probes import Gpu, Machine, allocator, memory_gb, native_reason, probe_machine
from hsd.model.doctor_probes import why_unwritable as why
from hsd.model.doctor_verdicts import examine_machine, judge_machine, runs_on
from hsd.model.speed import Timings

pytestmark = pytest.mark.model

A100 = Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 85.0)
NODE = Machine(
    driver="550.54.15",
    driver_cuda=(12, 4),
    torch_cuda=(12, 8),
    architectures=("sm_75", "sm_80", "sm_86", "sm_90", "compute_90"),
    gpus=(A100, A100),
    writable={"HOME /home/me": None},
    shm_gb=64.0,
    compiler="/usr/bin/cc",
    cores=32,
    memory_gb=256.0,
    bitsandbytes=None,
    versions={"torch": "2.13.0"},
)


def found(machine: Machine, name: str) -> Check:
    (check,) = [check for check in judge_machine(machine) if check.name == name]
    return check


def test_a_node_as_it_should_be_is_well() -> None:
    assert all(check.ok for check in judge_machine(NODE))
    assert found(NODE, "GPU 1").line == "NVIDIA A100-SXM4-80GB, 85 GB, sm_80"


@pytest.mark.parametrize(
    ("seen", "ok", "said"),
    [
        ({"driver": None}, True, "no NVIDIA driver, torch for CUDA 12.8: models run on the CPU"),
        ({"driver": None, "torch_cuda": None}, True, "torch for CPUs: models run on the CPU"),
        ({"torch_cuda": None}, None, "install a CUDA build of torch"),
        # A driver runs every CUDA of its own major version, and older ones.
        ({"driver_cuda": (12, 0)}, True, "550.54.15 (CUDA 12.0), torch for CUDA 12.8"),
        ({"driver_cuda": (13, 0)}, True, "torch for CUDA 12.8"),
        ({"driver_cuda": (11, 8)}, False, "a torch built for CUDA 11, or a newer driver"),
        ({"driver_cuda": None}, True, "550.54.15, torch for CUDA 12.8"),
        ({"gpus": ()}, None, "torch sees no GPU (check nvidia-smi, CUDA_VISIBLE_DEVICES"),
    ],
)
def test_torch_is_built_for_a_cuda_that_the_driver_runs(
    seen: Mapping[str, Any], ok: bool | None, said: str
) -> None:
    check = found(replace(NODE, **seen), "driver")
    assert check.ok is ok
    assert said in check.sentence


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((8, 0), "sm_80", True),
        ((8, 6), "sm_80", True),  # machine code runs on later minors of its major
        ((8, 0), "sm_86", False),
        ((9, 0), "sm_80 sm_86", False),
        ((9, 0), "sm_80 compute_80", True),  # PTX is compiled for whatever is newer
        ((7, 0), "sm_80 compute_80", False),
        ((9, 0), "sm_90a", True),
        ((12, 0), "sm_100 sm_120", True),
        ((12, 0), "sm_100", False),
        ((8, 0), "", False),
    ],
)
def test_a_gpu_runs_code_of_its_own_major_version_or_ptx_of_an_older_one(
    capability: tuple[int, int], architectures: str, runs: bool
) -> None:
    assert runs_on(capability, tuple(architectures.split())) is runs


def test_a_gpu_without_code_in_this_torch_is_refused() -> None:
    old = replace(NODE, gpus=(Gpu("Tesla V100", (7, 0), 32.0),))
    check = found(old, "GPU 0")
    assert check.ok is False
    assert "this torch has code for sm_75 sm_80" in check.line
    assert check.fix == "a torch that was built for sm_70"


@pytest.mark.parametrize(
    ("seen", "name", "ok"),
    [
        ({"shm_gb": 0.064}, "/dev/shm", None),
        ({"shm_gb": 0.064, "gpus": (A100,)}, "/dev/shm", True),
        ({"shm_gb": None}, "/dev/shm", None),
        ({"compiler": None}, "C compiler", None),
        ({"compiler": None, "gpus": ()}, "C compiler", True),
        ({"memory_gb": 2.0}, "memory", None),
        ({"memory_gb": None}, "memory", None),
        ({"bitsandbytes": "cannot be imported"}, "bitsandbytes", False),
        ({"bitsandbytes": "cannot be imported", "gpus": ()}, "bitsandbytes", None),
        ({"writable": {"HOME /": "cannot be written"}}, "HOME /", False),
    ],
)
def test_what_only_gpus_need_is_only_doubted_without_one(
    seen: Mapping[str, Any], name: str, ok: bool | None
) -> None:
    assert found(replace(NODE, **seen), name).ok is ok


def test_a_cpu_says_which_number_format_it_trains_in_and_what_would_be_faster() -> None:
    cpu = replace(NODE, gpus=(), timings=Timings(float32=0.033, bfloat16=0.022))
    assert found(cpu, "number format").line == (
        "the same work took 33.0 ms in float32, 22.0 ms in bfloat16: model.dtype=auto trains in "
        "bfloat16"
    )
    assert "LD_PRELOAD=libtcmalloc_minimal.so.4" in found(cpu, "memory allocator").fix
    preloaded = found(replace(cpu, allocator="tcmalloc"), "memory allocator")
    assert (preloaded.line, preloaded.fix) == ("tcmalloc", "")
    assert not {"number format", "memory allocator"} & {check.name for check in judge_machine(NODE)}


@pytest.mark.parametrize(
    ("loaded", "name"),
    [
        ("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4.5.10", "tcmalloc"),
        ("/usr/lib/libjemalloc.so.2", "jemalloc"),
        ("/home/me/tcmalloc/lib/libc.so.6", None),
    ],
)
def test_an_allocator_is_known_by_the_library_that_was_loaded(
    loaded: str, name: str | None, tmp_path: Path
) -> None:
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f01 r-xp 00000000 fe:00 123    {loaded}\n")
    assert allocator(maps) == name
    assert allocator(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("library", "has_gpu", "well"),
    [
        ("CudaBNBNativeLibrary", True, True),
        ("BNBNativeLibrary", False, True),
        ("BNBNativeLibrary", True, False),
        ("ErrorHandlerMockBNBNativeLibrary", False, False),
    ],
)
def test_bitsandbytes_needs_the_library_of_its_device(
    library: str, has_gpu: bool, well: bool
) -> None:
    assert (native_reason(library, has_gpu) is None) is well


def test_a_container_s_memory_limit_counts_when_it_is_less(tmp_path: Path) -> None:
    limit, none = tmp_path / "memory.max", tmp_path / "unlimited"
    limit.write_text("1000000000\n")
    none.write_text("max\n")
    whole = memory_gb((str(none),))
    assert whole is not None
    assert memory_gb((str(none), str(limit), str(tmp_path / "absent"))) == min(1.0, whole)


def test_a_folder_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    assert why(tmp_path / "new" / "deeper") is None
    assert not (tmp_path / "new").exists()
    said = why(Path("/proc/hsd"))
    assert said is not None
    assert said.startswith("/proc cannot be written (")


def test_this_machine_can_be_asked_and_nothing_is_left_behind() -> None:
    seen = probe_machine()
    assert seen.cores >= 1
    assert (seen.versions or {})["torch"]
    assert len({check.name for check in judge_machine(seen)}) == len(examine_machine())
    assert list(Path.home().iterdir()) == []
