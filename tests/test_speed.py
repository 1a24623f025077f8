"""Which number format a training takes on a CPU: what is faster there, where that matters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from hsd.config.model_config import ModelConfig
from hsd.model import placement, speed
from hsd.model.placement import Launch, Placement, agreed, place, place_to_train
from hsd.model.speed import Timings, faster

pytestmark = pytest.mark.model

BASE = LlamaConfig(hidden_size=576, intermediate_size=1536, dtype="bfloat16")
ASKED = ModelConfig(device="cpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Give `measured(float32, bfloat16)`: the seconds that are measured from then on."""

    def pin(exact: float, coarse: float) -> None:
        monkeypatch.setattr(speed, "time_formats", lambda _: Timings(exact, coarse))

    return pin


@pytest.fixture
def never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Any) -> Timings:
        raise AssertionError("it was measured")

    monkeypatch.setattr(speed, "time_formats", refused)


@pytest.mark.parametrize(
    ("exact", "coarse", "dtype", "said"),
    [
        (1.5, 1.0, torch.bfloat16, "bfloat16, 1.50 times as fast as float32 on this CPU"),
        (1.2, 1.0, torch.bfloat16, "1.20 times as fast"),
        (1.19, 1.0, torch.float32, "float32, as bfloat16 is 1.19 times as fast on this CPU"),
        (1.0, 40.0, torch.float32, "0.03 times as fast"),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster_by_a_margin_and_the_gain_is_said(
    exact: float, coarse: float, dtype: torch.dtype, said: str
) -> None:
    taken, why = faster(Timings(exact, coarse))
    assert taken is dtype
    assert said in why


def test_a_training_on_a_cpu_takes_what_is_faster_there(
    measured: Callable[[float, float], None],
) -> None:
    measured(3.0, 2.0)
    placed = place_to_train(ASKED, BASE)
    assert (placed.dtype, placed.measured) == (torch.bfloat16, True)
    assert placed.reason.startswith("asked for; bfloat16, 1.50 times as fast")
    measured(2.0, 3.0)
    placed = place_to_train(ASKED, BASE)
    assert (placed.dtype, placed.measured) == (torch.float32, True)


@pytest.mark.usefixtures("never_measured")
def test_what_is_judged_is_judged_in_float32_on_every_cpu() -> None:
    assert place(ASKED).dtype is torch.float32


@pytest.mark.usefixtures("never_measured")
@pytest.mark.parametrize(
    ("asked", "changes", "dtype", "said"),
    [
        ({"dtype": "float32"}, {}, torch.float32, "float32 asked for"),
        ({"dtype": "bfloat16"}, {}, torch.bfloat16, "bfloat16 asked for"),
        ({"quantization": "nf4"}, {}, torch.float32, "float32 on a CPU"),
        ({}, {"dtype": "float32"}, torch.float32, "its own weights are not in bfloat16"),
        ({}, {"dtype": "float16"}, torch.float32, "its own weights are not in bfloat16"),
        ({}, {"dtype": None}, torch.float32, "its own weights are not in bfloat16"),
        ({}, {"hidden_size": 64}, torch.float32, "too narrow to gain"),
    ],
)
def test_nothing_is_measured_where_it_would_decide_nothing(
    asked: dict[str, Any], changes: dict[str, Any], dtype: torch.dtype, said: str
) -> None:
    base = LlamaConfig(**{"hidden_size": 576, "dtype": "bfloat16"} | changes)
    placed = place_to_train(ASKED.model_copy(update=asked), base)
    assert (placed.dtype, placed.measured) == (dtype, False)
    assert said in placed.reason


@pytest.mark.usefixtures("never_measured")
@pytest.mark.parametrize("began", ["float32", "bfloat16"])
def test_a_run_that_goes_on_is_not_measured_again(began: str) -> None:
    placed = place_to_train(ASKED, BASE, began)
    assert placed.facts()["dtype"] == began
    assert placed.reason == f"asked for; {began}, in which this run began"


@pytest.mark.usefixtures("never_measured")
def test_a_gpu_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Placement("cuda:0", torch.bfloat16, "GPU 0 of 1; bfloat16 on a GPU", Launch(0, 0, 1))
    monkeypatch.setattr(placement, "place", lambda _: there)
    assert place_to_train(ModelConfig(), BASE) == there


def at(dtype: torch.dtype, *, measured: bool = True) -> Placement:
    return Placement("cpu", dtype, "no GPU visible; why", Launch(0, 0, 2), measured)


@pytest.mark.parametrize(
    ("mine", "other", "taken", "said"),
    [
        (at(torch.bfloat16), at(torch.bfloat16), torch.bfloat16, "why"),
        (at(torch.bfloat16), at(torch.float32), torch.float32, "not faster for all processes"),
        (at(torch.float32), at(torch.bfloat16), torch.float32, "not faster for all processes"),
        (
            at(torch.float32),
            at(torch.bfloat16, measured=False),
            torch.bfloat16,
            "bfloat16, as other processes have it",
        ),
        (at(torch.float32, measured=False), at(torch.bfloat16), torch.float32, "why"),
    ],
)
def test_processes_take_bfloat16_together_or_not_at_all(
    mine: Placement, other: Placement, taken: torch.dtype, said: str
) -> None:
    for every in ([mine, other], [other, mine]):
        found = agreed(mine, every)
        assert found.dtype is taken
        assert found.reason.startswith("no GPU visible; ")
        assert found.reason.endswith(said)
        assert found.launch == mine.launch
    both = [agreed(one, [mine, other]).dtype for one in (mine, other)]
    assert both[0] is both[1]


def test_measuring_draws_no_random_number_and_asks_for_no_gradient_to_be_on() -> None:
    state = torch.get_rng_state()
    with torch.no_grad():
        timed = speed.time_layers(64, 128)
    assert timed.float32 > 0
    assert timed.bfloat16 > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_where_bfloat16_is_hopeless_no_more_than_a_product_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(_: Any, dtype: torch.dtype) -> float:
        return 5.0 if dtype is torch.bfloat16 else 1.0

    monkeypatch.setattr(speed, "_seconds", slow)
    monkeypatch.delattr(speed, "_HalfLayer")
    assert speed.time_layers() == Timings(1.0, 5.0)


def test_only_the_width_of_a_base_is_measured_and_no_more_than_is_quick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(speed, "time_layers", lambda *sizes: asked.append(sizes))
    speed.time_formats(BASE)
    speed.time_formats(LlamaConfig(hidden_size=320, intermediate_size=960))
    assert asked == [(576, 1536), (320, 960)]
