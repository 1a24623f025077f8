"""A run keeps its number format: it goes on in no other, and a finished one is left as it is."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch

from hsd.config.model_config import ModelConfig
from hsd.errors import PreflightError, Stopped
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from hsd.io.manifest import MANIFEST
from hsd.io.run_identity import IDENTITY
from hsd.model import number_format as numbers
from hsd.model import placement, speed
from hsd.model.number_format import as_asked, how_to_keep, recorded_format, require_alike
from hsd.model.speed import Timings
from hsd.model.tolerance import SelfTest
from hsd.training import prefix_sharing
from hsd.training import training_run as training
from hsd.training.find_existing import claim_folder
from hsd.training.training_plan import plan_training
from hsd.training.training_run import Trained, train

pytestmark = pytest.mark.model

CPU = {
    "device": "cpu",
    "dtype": "float32",
    "quantization": "none",
    "double_quantization": None,
    "compute_dtype": None,
    "attention": "sdpa",
}
GPU = CPU | {
    "device": "cuda",
    "dtype": "bfloat16",
    "quantization": "nf4",
    "double_quantization": True,
    "compute_dtype": "bfloat16",
}

Config = Callable[..., Any]


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path) -> Config:
    """Give `config(**changes)`: a run of 9 steps that leaves all of its numbers to the machine."""

    def make(**model: Any) -> Any:
        asked = {"device": "auto", "name": str(tiny_llama)} | model
        return small_runs.config(tiny_llama, tmp_path, model=asked)

    return make


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give `elsewhere()`: from then on bfloat16 is faster, as on another CPU."""

    def move() -> None:
        monkeypatch.setattr(speed, "why_not_bfloat16", lambda _: None)
        monkeypatch.setattr(speed, "time_formats", lambda _: Timings(2.0, 1.0))

    return move


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give `on_a_gpu()`: from then on there is one, as far as placement is concerned."""

    def place(asked: ModelConfig) -> placement.Placement:
        here = placement.launch()
        if asked.device == "cpu":
            return placement.Placement("cpu", torch.float32, "asked for", here)
        return placement.Placement("cuda:0", torch.bfloat16, "GPU 0 of 1", here)

    def move() -> None:
        monkeypatch.setattr(numbers, "place", place)
        monkeypatch.setattr(placement, "place", place)

    return move


def stopped(config: Any, step: int = 4) -> Path:
    """Begin a run and stop it after a step; return its folder."""
    sent: list[bool] = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "training" and done == step - 1 and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(config, progress)
    return Path(config.output_dir)


def unlike_today(folder: Path) -> None:
    """Write the identity of a run as versions without a number format did, nor later settings."""
    identity = read_json(folder / IDENTITY)
    del identity["number_format"]
    del identity["config"]["data"]["other_splits"]
    for name in ("objective", "answer_weight", "label_smoothing", "balance", "init_from"):
        del identity["config"]["training"][name]
    identity["config"]["model"] |= {
        "device": "auto",
        "dtype": "auto",
        "quantization": "auto",
        "double_quantization": True,
        "attention": "auto",
    }
    write_json(folder / IDENTITY, identity)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def loaded(*_: Any) -> None:
        raise AssertionError("weights were loaded")

    return lambda: monkeypatch.setattr(training, "load_base", loaded)


# A run that goes on


def test_a_run_does_not_go_on_in_another_number_format_and_says_how_it_would(
    config: Config, nothing_is_loaded: Callable[[], None]
) -> None:
    folder = stopped(config())
    before = contents(folder)
    nothing_is_loaded()
    with pytest.raises(PreflightError) as error:
        train(config(dtype="bfloat16"))
    assert str(error.value) == (
        f"{folder} was begun otherwise and cannot go on so: number_format.dtype: "
        '"float32" -> "bfloat16". To go on as it began, set model.dtype=float32; or choose another '
        "output_dir to start anew."
    )
    assert contents(folder) == before


@pytest.mark.parametrize("asked", ["auto", "float32"])
def test_a_run_goes_on_in_the_number_format_it_began_in_whichever_is_faster_now(
    asked: str, config: Config, elsewhere: Callable[[], None], tmp_path: Path
) -> None:
    folder = stopped(config())
    elsewhere()
    train(config(dtype=asked))
    whole = config(dtype="float32").model_copy(update={"output_dir": tmp_path / "whole"})
    train(whole)
    assert small_runs.adapter_bytes(folder) == small_runs.adapter_bytes(tmp_path / "whole")


def test_a_run_that_began_in_bfloat16_goes_on_in_it_where_it_is_slower(
    config: Config, elsewhere: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere()
    folder = stopped(config())
    monkeypatch.setattr(speed, "time_formats", lambda _: Timings(1.0, 2.0))
    train(config())
    manifest = read_json(folder / MANIFEST)
    assert manifest["base"]["dtype"] == "bfloat16"
    assert manifest["mixed_precision"] == "bf16"
    reason = manifest["base"]["placement"]["reason"]
    assert reason.endswith("; bfloat16, in which this run began")


def test_what_is_faster_on_a_cpu_is_said_before_the_first_step(
    config: Config, elsewhere: Callable[[], None]
) -> None:
    elsewhere()
    said: list[str] = []
    folder = train(config(), say=said.append).folder
    sentence = "bfloat16, 2.00 times as fast as float32 on this CPU (half a layer)"
    assert f"Number format: {sentence}." in said
    assert sentence in (folder / "training.log").read_text()
    assert read_json(folder / MANIFEST)["base"]["placement"]["measured"] is True
    assert read_json(folder / IDENTITY)["number_format"] == CPU | {"dtype": "bfloat16"}


def test_a_run_of_a_cpu_does_not_go_on_on_a_gpu(
    config: Config, on_a_gpu: Callable[[], None], nothing_is_loaded: Callable[[], None]
) -> None:
    folder = stopped(config())
    on_a_gpu()
    nothing_is_loaded()
    with pytest.raises(PreflightError) as error:
        train(config())
    said = str(error.value)
    assert 'number_format.device: "cpu" -> "cuda"' in said
    assert 'number_format.dtype: "float32" -> "bfloat16"' in said
    assert 'number_format.quantization: "none" -> "nf4"' in said
    assert "set model.device=cpu model.dtype=float32 model.quantization=none;" in said
    asked = config(device="cpu", dtype="float32", quantization="none")
    with pytest.raises(AssertionError, match="weights were loaded"):
        train(asked)
    assert folder.is_dir()


def test_to_ask_for_what_auto_became_makes_no_other_run(config: Config) -> None:
    asked = config(device="cpu", dtype="float32", quantization="none", attention="sdpa")
    assert plan_training(asked).identity() == plan_training(config()).identity()


def test_a_run_begun_before_formats_were_compared_goes_on_in_its_own_and_in_no_other(
    config: Config, elsewhere: Callable[[], None]
) -> None:
    folder = stopped(config())
    unlike_today(folder)
    with pytest.raises(PreflightError, match=r"cannot go on so: number_format\.dtype: .float32"):
        train(config(dtype="bfloat16"))
    elsewhere()
    assert train(config()).steps == 9
    assert read_json(folder / MANIFEST)["base"]["dtype"] == "float32"
    assert train(config()).skipped


def test_a_run_that_took_no_step_before_formats_were_compared_goes_on_in_any(
    config: Config, elsewhere: Callable[[], None]
) -> None:
    claim_folder(plan_training(config()))
    unlike_today(Path(config().output_dir))
    elsewhere()
    assert train(config()).steps == 9


@pytest.mark.parametrize("shared_first", [False, True])
def test_a_run_goes_on_in_the_form_it_began_in_or_says_that_it_cannot(
    shared_first: bool, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> SelfTest:
        return SelfTest(obstacle="the check ends otherwise here")

    with monkeypatch.context() as patched:
        if not shared_first:
            patched.setattr(prefix_sharing, "check_gradients", fails)
        folder = stopped(config())
    if shared_first:
        monkeypatch.setattr(prefix_sharing, "check_gradients", fails)
    train(config())
    decided = read_json(folder / MANIFEST)["prefix_sharing"]
    assert decided["shared"] is False
    assert decided["reason"] == (
        "Rows are computed whole: the check ends otherwise here. This run began with shared "
        "prompts: its gradient is the same, its dropout is not."
        if shared_first
        else "Rows are computed whole, as since this run began."
    )
    assert decided["reason"] in (folder / "training.log").read_text()


# A run that is finished


@pytest.fixture(scope="module")
def finished(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A finished run that left its numbers to the machine; nobody writes into its folder."""
    folder = tmp_path_factory.mktemp("finished")
    return train(small_runs.config(tiny_llama, folder, model={"device": "auto"}))


@pytest.mark.parametrize("old", [False, True])
def test_a_finished_run_is_finished_on_every_machine(
    old: bool, config: Config, on_a_gpu: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(config()).folder
    if old:
        unlike_today(folder)
    on_a_gpu()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert train(config()).skipped
    with pytest.raises(
        PreflightError, match=r"belongs to another run; .*dtype: .*float32.*bfloat16"
    ):
        train(config(dtype="bfloat16"))
    with pytest.raises(PreflightError, match=r"belongs to another run; .*quantization: .none. -> "):
        train(config(quantization="nf4"))


# Processes


def test_another_number_of_processes_is_refused_with_the_number_that_works(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped(config())
    with monkeypatch.context() as patched:
        for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
            patched.setenv(name, value)
        with pytest.raises(PreflightError, match="go on as it began, start one process, without"):
            train(config())
    identity = read_json(folder / IDENTITY)
    write_json(folder / IDENTITY, identity | {"processes": 4})
    with pytest.raises(PreflightError) as error:
        train(config())
    assert "cannot go on so: processes: 4 -> 1." in str(error.value)
    assert "start 4 processes in all (on one machine: torchrun --nproc_per_node 4)" in str(
        error.value
    )


def test_processes_of_different_numbers_are_refused_naming_the_odd_one() -> None:
    require_alike([GPU, GPU])
    with pytest.raises(PreflightError) as error:
        require_alike([GPU, GPU, GPU | {"dtype": "float32"}])
    assert "rank 0: bfloat16 on cuda, quantization nf4; rank 2: float32 on cuda" in str(error.value)


# The words


@pytest.mark.parametrize(
    ("known", "now", "expected"),
    [
        (CPU, GPU, "set model.device=cpu model.dtype=float32 model.quantization=none"),
        (GPU, CPU, "run it where torch sees a GPU like the one it began on"),
        (GPU, GPU | {"dtype": "float32"}, "set model.dtype=bfloat16"),
        (GPU, GPU | {"compute_dtype": "float32"}, "run it on a GPU like the one it began on"),
        (GPU, GPU | {"double_quantization": False}, "set model.double_quantization=true"),
        (GPU | {"quantization": "dequantized"}, GPU, "set model.quantization=none"),
        (CPU, CPU | {"attention": "eager"}, "set model.attention=sdpa"),
    ],
)
def test_the_advice_are_settings_that_bring_the_format_back(
    known: dict[str, Any], now: dict[str, Any], expected: str
) -> None:
    assert how_to_keep(known, now) == expected


@pytest.mark.parametrize(
    ("asked", "known", "same"),
    [
        ({}, GPU, True),
        ({}, CPU, True),
        ({"device": "cpu"}, GPU, False),
        ({"dtype": "bfloat16"}, GPU, True),
        ({"quantization": "none"}, GPU, False),
        ({"quantization": "none"}, CPU | {"quantization": "dequantized"}, True),
        ({"quantization": "nf4"}, CPU | {"quantization": "packed"}, True),
        ({"quantization": "none"}, CPU | {"quantization": "packed"}, False),
        ({"double_quantization": False}, GPU, False),
        ({"double_quantization": False}, CPU, True),
        ({"attention": "eager"}, CPU, False),
    ],
)
def test_auto_asks_for_nothing_and_a_setting_for_itself(
    asked: dict[str, Any], known: dict[str, Any], same: bool
) -> None:
    assert (as_asked(ModelConfig(**asked), known) == known) is same


def test_the_format_is_what_the_manifest_says_of_the_loaded_base(finished: Trained) -> None:
    known = read_json(finished.folder / IDENTITY)["number_format"]
    assert known == CPU
    said = recorded_format(read_json(finished.folder / MANIFEST)["base"])
    assert said == {name: value for name, value in CPU.items() if name != "compute_dtype"}
    assert recorded_format({}) == {}


def test_a_base_in_4_bit_has_the_format_of_its_load(tiny_llama: Path) -> None:
    from hsd.model.base import find_base, load_base
    from hsd.model.describe import describe_base

    asked = ModelConfig(name=str(tiny_llama), device="cpu", quantization="nf4")
    source = find_base(asked)
    found = numbers.number_format(asked, source)
    said = recorded_format(describe_base(load_base(asked, source)))
    assert said == {name: found[name] for name in said}
    assert (found["quantization"], found["double_quantization"]) == ("nf4", True)
    assert found["compute_dtype"]
