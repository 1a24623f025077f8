"""Where a process's model goes: from the launch, one process one device, with the reason."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hsd.config.model_config import ModelConfig
from hsd.errors import PreflightError

pytestmark = pytest.mark.model

LAUNCH = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n in LAUNCH or n.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "")  # so that what a test leaves there is taken back
        monkeypatch.delenv(name)


def launched(monkeypatch: pytest.MonkeyPatch, **env: object) -> Any:
    from hsd.model.placement import launch

    for name, value in env.items():
        monkeypatch.setenv(name, str(value))
    return launch()


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int, *, bf16: bool = True) -> None:
    import torch

    def supported(including_emulation: bool = True) -> bool:
        return bf16 or including_emulation  # as torch answers: any GPU can emulate it, slowly

    cuda = SimpleNamespace(
        is_available=lambda: gpus > 0,
        device_count=lambda: gpus,
        is_bf16_supported=supported,
    )
    monkeypatch.setattr(torch, "cuda", cuda)


def test_without_a_launcher_there_is_one_process() -> None:
    from hsd.model.placement import Launch, launch

    assert launch() == Launch(rank=0, local_rank=0, world_size=1)
    assert launch().is_main


def test_a_launchers_environment_says_who_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here = launched(monkeypatch, RANK=5, LOCAL_RANK=1, WORLD_SIZE=8, MASTER_PORT=1)
    assert (here.rank, here.local_rank, here.world_size, here.is_main) == (5, 1, 8, False)


@pytest.mark.parametrize(("flags", "silent"), [([], False), (["--num_processes", "2"], True)])
def test_one_process_where_several_were_asked_for_is_refused(
    flags: list[str], silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What `accelerate launch --cpu [--num_processes 2] script.py` sets for the one that it starts.
    from accelerate.commands.launch import launch_command_parser
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    from hsd.model.placement import launch

    args = launch_command_parser().parse_args(["--cpu", *flags, "script.py"])
    args.mixed_precision, args.dynamo_backend = "no", "no"  # as the launcher fills them in
    args.num_machines, args.num_processes = 1, args.num_processes or 1
    _, env = prepare_simple_launcher_cmd_env(args)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if silent:
        with pytest.raises(PreflightError, match="started one.*`ACCELERATE_USE_CPU=true "):
            launch()
    else:
        assert launch().world_size == 1


def test_use_accelerate_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from hsd.model.placement import require_several

    with pytest.raises(PreflightError, match="only one process was started"):
        require_several()
    launched(monkeypatch, RANK=0, WORLD_SIZE=2)
    require_several()


@pytest.mark.parametrize(
    ("gpus", "bf16", "asked", "local_rank", "device", "dtype", "reason"),
    [
        (0, True, {}, 0, "cpu", "float32", "no GPU visible; float32 on a CPU"),
        (0, True, {"device": "cpu"}, 0, "cpu", "float32", "asked for; float32 on a CPU"),
        (0, True, {"dtype": "bfloat16"}, 0, "cpu", "bfloat16", "bfloat16 asked for"),
        (1, True, {}, 0, "cuda:0", "bfloat16", "GPU 0 of 1; bfloat16 on a GPU"),
        (1, False, {}, 0, "cuda:0", "float32", "this GPU has no bfloat16"),
        (1, False, {"dtype": "float16"}, 0, "cuda:0", "float16", "float16 asked for"),
        (4, True, {"device": "cuda"}, 0, "cuda:0", "bfloat16", "3 more idle, use accelerate"),
        (4, True, {}, 3, "cuda:3", "bfloat16", "GPU 3 of 4; bfloat16 on a GPU"),
        (4, True, {"device": "cpu"}, 3, "cpu", "float32", "asked for"),
    ],
)
def test_a_process_gets_the_device_of_its_place(
    gpus: int,
    bf16: bool,
    asked: dict[str, Any],
    local_rank: int,
    device: str,
    dtype: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hsd.model.placement import place

    machine(monkeypatch, gpus, bf16=bf16)
    if local_rank:
        launched(monkeypatch, RANK=local_rank + 4, LOCAL_RANK=local_rank, WORLD_SIZE=8)
    placed = place(ModelConfig(**asked))
    assert (placed.device, str(placed.dtype)) == (device, f"torch.{dtype}")
    assert reason in placed.reason
    assert placed.facts()["dtype"] == dtype
    assert placed.facts()["launch"]["local_rank"] == local_rank


def test_a_launcher_that_says_cpu_is_followed_unless_the_config_says_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hsd.model.placement import place

    machine(monkeypatch, 2)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    placed = place(ModelConfig())
    assert (placed.device, placed.facts()["dtype"]) == ("cpu", "float32")
    assert "the launcher says ACCELERATE_USE_CPU" in placed.reason
    with pytest.raises(PreflightError, match="model.device is cuda, but .*ACCELERATE_USE_CPU=true"):
        place(ModelConfig(device="cuda"))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    assert place(ModelConfig()).device == "cuda:0"


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from hsd.model.placement import place

    machine(monkeypatch, 0)
    with pytest.raises(PreflightError, match="torch sees no GPU"):
        place(ModelConfig(device="cuda"))


@pytest.mark.parametrize(
    ("asked", "says", "device", "goes"),
    [
        ("1", "", "auto", False),
        ("4", "false", "auto", False),
        ("1", "true", "auto", True),  # who says so means the CPU
        ("1", "", "cpu", True),
        ("0", "", "auto", True),
        ("", "", "auto", True),
    ],
)
def test_a_job_that_asked_for_gpus_and_sees_none_does_not_go_on_on_the_cpu(
    asked: str, says: str, device: str, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.model.placement import place

    machine(monkeypatch, 0)
    monkeypatch.setenv("HSD_GPUS", asked)
    monkeypatch.setenv("ACCELERATE_USE_CPU", says)
    config = ModelConfig(device=device)
    if goes:
        assert place(config).device == "cpu"
        return
    with pytest.raises(PreflightError, match=f"asked for {asked} GPUs? on each node, but torch"):
        place(config)
    machine(monkeypatch, 1)
    assert place(config).device == "cuda:0"


def test_more_local_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from hsd.model.placement import place

    machine(monkeypatch, 2)
    launched(monkeypatch, RANK=2, LOCAL_RANK=2, WORLD_SIZE=4)
    with pytest.raises(PreflightError, match="local rank 2 has no GPU: only 2 visible"):
        place(ModelConfig())


CAPS = "Gemma2ForCausalLM has no sdpa"
SINKS = "GptOssForCausalLM has no sdpa"


@pytest.mark.parametrize(
    ("family", "asked", "device", "code", "reason"),
    [
        ("llama", "auto", "cpu", "sdpa", "torch's own"),
        ("llama", "auto", "cuda:0", "sdpa", "torch's own"),
        ("llama", "eager", "cpu", "eager", "asked for"),
        ("llama", "flash_attention_2", "cuda:0", "flash_attention_2", "asked for"),
        ("llama", "flex", "cuda:0", "flex", "asked for"),
        ("gpt_oss", "flex", "cuda:0", "flex", "asked for"),
        ("gpt_oss", "auto", "cuda:0", "eager", SINKS),
        ("gemma2", "auto", "cpu", "eager", CAPS),
        ("gemma2", "eager", "cuda:0", "eager", "asked for"),
        ("gemma3", "auto", "cpu", "sdpa", "torch's own"),
    ],
)
def test_attention_is_what_the_models_classes_can(
    family: str, asked: str, device: str, code: str, reason: str, request: pytest.FixtureRequest
) -> None:
    from hsd.model.families import Attention, attention_for

    model = hollow(request.getfixturevalue(f"tiny_{family}"))
    assert attention_for(model, asked, device) == Attention(code, reason)


@pytest.mark.parametrize(
    ("family", "asked", "device", "said"),
    [
        ("llama", "flash_attention_2", "cpu", "does not work on a CPU"),
        ("gpt_oss", "flash_attention_2", "cuda:0", "does not work on this family"),
        ("llama", "flex", "cpu", "flex does not work on a CPU; use auto"),
        ("gpt_oss", "sdpa", "cpu", "sdpa: GptOssForCausalLM has no code for it"),
        ("gemma2", "sdpa", "cuda:0", "use auto, which takes eager for Gemma2ForCausalLM"),
    ],
)
def test_attention_that_cannot_work_is_refused(
    family: str, asked: str, device: str, said: str, request: pytest.FixtureRequest
) -> None:
    from hsd.errors import ModelError
    from hsd.model.families import attention_for

    with pytest.raises(ModelError, match=said):
        attention_for(hollow(request.getfixturevalue(f"tiny_{family}")), asked, device)


def test_one_part_without_sdpa_is_enough_for_eager(tiny_llama: Path, tiny_gemma2: Path) -> None:
    from hsd.model.families import attention_for

    whole = hollow(tiny_llama)
    whole.ear = hollow(tiny_gemma2)
    assert attention_for(whole, "auto", "cpu").code == "eager"


def hollow(folder: Path) -> Any:
    from transformers import AutoConfig

    from hsd.model.quantization import skeleton

    return skeleton(AutoConfig.from_pretrained(folder))


def test_torch_may_grow_its_blocks_on_a_gpu_unless_the_user_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hsd.model.placement import place

    machine(monkeypatch, 1)
    place(ModelConfig(device="cpu"))
    assert "PYTORCH_ALLOC_CONF" not in os.environ
    place(ModelConfig())
    assert os.environ.pop("PYTORCH_ALLOC_CONF") == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    place(ModelConfig())
    assert "PYTORCH_ALLOC_CONF" not in os.environ


@pytest.mark.parametrize(
    ("gpus", "bf16", "dtype", "compute"),
    [
        (0, False, "auto", "bfloat16"),
        (1, True, "auto", "bfloat16"),
        (1, True, "float32", "bfloat16"),
        (1, False, "auto", "float32"),
        (1, False, "float16", "float16"),
    ],
)
def test_4_bit_is_computed_in_bfloat16_where_it_is_not_emulated(
    gpus: int, bf16: bool, dtype: Any, compute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.model.placement import four_bit_compute, place

    machine(monkeypatch, gpus, bf16=bf16)
    assert four_bit_compute(place(ModelConfig(dtype=dtype))) is getattr(torch, compute)
