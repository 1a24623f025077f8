"""Memory: asked before a byte is read, and recognised in whatever error says that it is full."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from hsd.config.model_config import ModelConfig
from hsd.errors import ErrorCode, EvaluationError, PreflightError, TrainingError
from hsd.model.memory import (
    Need,
    free_gb,
    is_memory_error,
    memory_error_as,
    need_of,
    require_room,
)

pytestmark = pytest.mark.model

GB = 1e9

FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.98 GiB."),
    torch.AcceleratorError("CUDA error: out of memory", 2),
    RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("NCCL Error 1: unhandled cuda error: Failed to CUDA calloc async 608 bytes"),
    RuntimeError("NCCL error: ncclUnhandledCudaError: Cuda failure 2 'out of memory'"),
    RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    MemoryError(),
]
OTHER = [
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    RuntimeError("Expected all tensors to be on the same device, but got cuda:0 and cpu"),
    RuntimeError("The size of tensor a (4) must match the size of tensor b (2)"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", FULL, ids=str)
def test_full_memory_is_recognised_whoever_says_it(error: Exception) -> None:
    assert is_memory_error(error)
    line = TrainingError("memory is full")
    with pytest.raises(TrainingError, match="memory is full"), memory_error_as(line):
        raise error


@pytest.mark.parametrize("error", FULL, ids=str)
def test_the_code_says_whose_memory_is_full(error: Exception) -> None:
    of_the_machine = isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
    with pytest.raises(TrainingError) as raised, memory_error_as(TrainingError("full")):
        raise error
    wanted = ErrorCode.HOST_OUT_OF_MEMORY if of_the_machine else ErrorCode.CUDA_OUT_OF_MEMORY
    assert raised.value.code is wanted


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_other_errors_are_not_taken_for_full_memory(error: Exception) -> None:
    assert not is_memory_error(error)
    with pytest.raises(type(error)) as raised, memory_error_as(TrainingError("memory is full")):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", [FULL[1], FULL[3], FULL[7]], ids=str)
def test_a_batch_is_halved_whoever_says_that_memory_is_full(error: Exception) -> None:
    from hsd.inference.halving import in_batches

    def small(batch: Any) -> list[int]:
        if len(batch) > 2:
            raise error
        return list(batch)

    assert list(in_batches(range(5), 4, small)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_a_batch_is_not_halved_for_another_error(error: Exception) -> None:
    from hsd.inference.halving import in_batches

    def broken(batch: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        list(in_batches(range(5), 4, broken))


def said(need: Need, free: float, where: str, in_4bit: Need | None = None) -> str:
    with pytest.raises(PreflightError) as error:
        require_room("a/base", need, free, where, in_4bit)
    return str(error.value)


def test_a_base_that_fits_is_not_refused() -> None:
    need = Need(held=40 * GB, loading=4 * GB, piece=1 * GB)
    require_room("a/base", need, 44.0, "cuda:0")  # loading is over when a piece is computed


def test_a_base_that_does_not_fit_is_a_line_with_what_would() -> None:
    need, small = Need(40 * GB, 4 * GB, 1 * GB), Need(12 * GB, 1 * GB, 1 * GB)
    assert said(need, 39.0, "cuda:0") == (
        "model 'a/base': does not fit on cuda:0: it needs about 44.0 GB (40.0 for its weights), "
        "and 39.0 are free; take a GPU with more memory, end what else runs on it, or take a "
        "smaller base."
    )
    assert "set model.quantization=nf4 (about 13.0 GB), take" in said(need, 39.0, "cuda:0", small)
    assert "nf4" not in said(need, 12.0, "cuda:0", small)
    assert "and this machine or container has 16.0; take a machine with more memory" in (
        said(need, 16.0, "cpu")
    )


def test_what_a_base_needs_is_counted_as_it_will_be_held(tiny_llama: Path) -> None:
    from hsd.model.base import load_base
    from hsd.model.quantization import Quantization, nf4_config, skeleton

    plain = load_base(ModelConfig(name=str(tiny_llama), device="cpu"))
    hollow = skeleton(plain.source.config)
    weights = sum(p.numel() for p in plain.model.parameters())
    none = Quantization("none", "")
    assert need_of(hollow, none, torch.float32).held == 4 * weights
    assert need_of(hollow, none, torch.bfloat16).held == 2 * weights
    for double in (True, False):
        bits = nf4_config(double)
        packed = need_of(hollow, Quantization("nf4", "", bits, bits), torch.bfloat16)
        layers = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
        assert 0.5 * layers < packed.held - 2 * (weights - layers) < 0.57 * layers
    unpacked = need_of(hollow, Quantization("dequantized", ""), torch.bfloat16)
    assert unpacked.loading == 4 * need_of(hollow, none, torch.bfloat16).loading


def test_a_gpu_too_small_is_said_before_a_weight_is_read(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.model import base

    monkeypatch.setattr(base, "free_gb", lambda *_: 0.0001)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    with pytest.raises(PreflightError, match=r"does not fit on cpu: it needs about"):
        base.load_base(ModelConfig(name=str(tiny_llama), device="cpu"))


def test_on_a_cpu_only_weights_that_are_converted_are_held_against_memory() -> None:
    from hsd.model.placement import Launch, Placement
    from hsd.model.quantization import Quantization

    here = Placement("cpu", torch.float32, "", Launch(0, 0, 1))
    none = Quantization("none", "")
    assert free_gb(here, none, torch.float32) is None, "mapped from the file, whatever its size"
    assert free_gb(here, none, torch.bfloat16) is not None
    assert free_gb(here, Quantization("dequantized", ""), torch.float32) is not None


def test_swap_counts_where_there_is_some(tmp_path: Path) -> None:
    from hsd.model.doctor_probes import swap_gb

    meminfo = tmp_path / "meminfo"
    assert swap_gb(meminfo) == 0.0
    meminfo.write_text("MemTotal:  16000000 kB\nSwapTotal:  1000000 kB\n")
    assert swap_gb(meminfo) == 1.024


def test_what_torch_keeps_of_models_that_are_gone_is_free_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hsd.model.placement import Launch, Placement
    from hsd.model.quantization import Quantization

    here = Placement("cuda:0", torch.bfloat16, "", Launch(0, 0, 1))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 45 * 10**9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 * 10**9)
    assert free_gb(here, Quantization("none", ""), torch.bfloat16) == 50.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_what_is_free_on_a_gpu_is_what_its_driver_and_torch_say(tiny_llama: Path) -> None:
    from hsd.model.base import load_base

    base = load_base(ModelConfig(name=str(tiny_llama), device="cuda", dtype="bfloat16"))
    free = free_gb(base.placement, base.quantization, torch.bfloat16)
    total = torch.cuda.mem_get_info(base.placement.device)[1] / 1e9
    assert free is not None
    assert 0 < free <= total


@pytest.mark.parametrize("error", [FULL[0], FULL[3], FULL[7]], ids=str)
def test_memory_that_runs_out_while_loading_is_a_line(
    error: Exception, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.model import base

    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(PreflightError, match="memory ran out on cpu while it was loaded"):
        base.load_base(ModelConfig(name=str(tiny_llama), device="cpu"))


def test_an_obstacle_to_masks_is_one_and_a_fault_of_the_machine_is_none(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.model import packing
    from hsd.model.base import load_base

    model = load_base(ModelConfig(name=str(tiny_llama), device="cpu")).model
    assert packing.obstacle(model) is None

    def raising(error: Exception) -> Any:
        def compute(*_: Any) -> None:
            raise error

        return compute

    shape = RuntimeError("The size of tensor a (4) must match the size of tensor b (2)")
    for error in (shape, RuntimeError("Subtraction with a bool tensor is not supported")):
        monkeypatch.setattr(packing, "compute_prefix", raising(error))
        assert packing.obstacle(model) == "it takes no mask made elsewhere (RuntimeError)"
    types = RuntimeError("Expected inputs of BF16 type but got mat_a.dtype=torch.float32")
    for error in (*FULL[:4], *OTHER[:3], types):
        monkeypatch.setattr(packing, "compute_prefix", raising(error))
        with pytest.raises(RuntimeError):
            packing.obstacle(model)


def test_an_evaluation_whose_memory_is_full_while_it_loads_is_a_line(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate
    from hsd.evaluation.subject import Subject

    def full(_: Subject) -> None:
        raise FULL[3]

    monkeypatch.setattr(Subject, "load", full)
    config = {
        "model": {"name": str(tiny_llama), "device": "cpu"},
        "data_file": "embedded",
        "prompt_template": "baseline",
        "strategy": "standard",
        "output_dir": str(tmp_path / "eval"),
    }
    with pytest.raises(EvaluationError, match="this machine's memory is full"):
        evaluate(EvalConfig.model_validate(config))
