"""Processes that learn together: what they send each other, wait for, and draw for themselves."""

from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from accelerate import PartialState
from torch.nn.parallel import DistributedDataParallel

from hsd.errors import TrainingError
from hsd.io.json_reader import read_json
from hsd.training import processes
from hsd.training import training_run as training
from hsd.training.arguments import arguments
from hsd.training.checkpoints import Newest
from hsd.training.processes import PATIENCE, draw_apart, keep_frozen_at_home, said_in_a_line
from hsd.training.training_plan import plan_training

pytestmark = pytest.mark.model


@pytest.fixture
def group() -> Any:
    """A group of one process."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_a_wrapped_model_sends_what_learns_and_nothing_else(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.nn.parallel import distributed

    from hsd.config.model_config import ModelConfig
    from hsd.config.train_config import LoraConfig
    from hsd.model.adapter import new_adapter
    from hsd.model.base import load_base

    sent: list[torch.Tensor] = []

    def send(group: Any, tensors: list[torch.Tensor], *_: Any) -> None:
        sent.extend(tensors)

    base = load_base(ModelConfig(name=str(tiny_llama), device="cpu"))
    model = new_adapter(base, LoraConfig(rank=4), 1)
    keep_frozen_at_home(model)
    monkeypatch.setattr(distributed.dist, "_broadcast_coalesced", send)
    DistributedDataParallel(model)
    learning = {p.data_ptr() for p in model.parameters() if p.requires_grad}
    buffers = {b.data_ptr() for b in model.buffers()}
    assert learning <= {tensor.data_ptr() for tensor in sent}
    assert {tensor.data_ptr() for tensor in sent} <= learning | buffers


def test_each_process_draws_a_dropout_of_its_own_and_the_first_as_if_alone() -> None:
    def drawn(rank: int) -> list[float]:
        torch.manual_seed(42)
        torch.rand(3)  # whatever was drawn before
        draw_apart(42, rank)
        return list(torch.rand(4).tolist())

    torch.manual_seed(42)
    alone = torch.rand(7)[3:].tolist()
    assert drawn(0) == alone
    assert len({tuple(drawn(rank)) for rank in range(4)}) == 4
    assert drawn(2) == drawn(2)


def test_all_processes_go_on_from_the_checkpoint_that_the_first_one_sees(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(what: list[Any]) -> None:  # what another machine's listing of the folder does not show
        if what == [Newest(tmp_path / "run/checkpoint-9")]:
            what[0] = Newest(tmp_path / "run/checkpoint-6")

    training.train(small_runs.config(tiny_llama, tmp_path))
    for name in ("done.json", "adapter_model.safetensors"):
        (tmp_path / "run" / name).unlink()
    monkeypatch.setattr(processes, "broadcast_object_list", told)
    training.train(small_runs.config(tiny_llama, tmp_path))
    starts = read_json(tmp_path / "run/manifest.json")["starts"]
    assert starts[-1]["resumed_from"] == "checkpoint-6"


def test_the_group_waits_long_enough_for_a_machine_that_loads_slowly(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def watched(**settings: Any) -> Any:
        given.append(settings)
        return PartialState(**settings)

    monkeypatch.setattr(processes, "PartialState", watched)
    prepared = plan_training(small_runs.config(tiny_llama, tmp_path))
    processes.linked(prepared.here, prepared.placement.device)
    assert given == [{"cpu": True, "timeout": PATIENCE}]
    base: Any = type("Base", (), {"placement": type("Placement", (), {"device": "cpu"})})
    assert arguments(prepared, base).ddp_timeout == PATIENCE.total_seconds()


@pytest.mark.parametrize(
    "said",
    [
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:1",
        "Connection closed by peer [127.0.0.1]:29500",
        "NCCL error: remote process exited or there was a network error",
    ],
)
def test_a_lost_process_is_one_line_for_those_who_wait_for_it(said: str) -> None:
    one_line = "another process of this training has ended"
    with pytest.raises(TrainingError, match=one_line), said_in_a_line():
        raise RuntimeError(said)


def test_another_error_of_the_library_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"), said_in_a_line():
        raise RuntimeError("size mismatch")
