"""The largest piece is tried before step 1, and the run is the same as without that."""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from small_runs import adapter_bytes
from test_step import ANSWER, ROOMY, ROWS, model_of

from hsd.errors import ErrorCode, Stopped, TrainingError
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from hsd.training import step_choices, training_run
from hsd.training.find_existing import behind_before, costs_before, recomputed_before
from hsd.training.microbatches import find_sharing
from hsd.training.planner_costs import PlannerCosts
from hsd.training.planner_timing import costs_on, measured
from hsd.training.recompute_choice import Rehearsed
from hsd.training.rehearsal import largest_work, rehearse, untouched
from hsd.training.step import Learner
from hsd.training.trainer import HsdTrainer
from hsd.training.training_run import train

pytestmark = pytest.mark.model

Run = Callable[..., Any]


@pytest.fixture
def run(tiny_llama: Path, tmp_path: Path) -> Run:
    """Return the config of a short run with dropout; parts change its sections."""

    def made(name: str = "run", **parts: Any) -> Any:
        config = small_runs.config(tiny_llama, tmp_path, **parts)
        return config.model_copy(update={"output_dir": tmp_path / name})

    return made


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `auto` be rehearsed, as on a GPU: with its device alone nothing is decided."""
    monkeypatch.setattr(step_choices, "_by_plan", lambda *_: None)


# The model


def test_a_rehearsal_leaves_the_model_and_all_random_numbers_as_they_were(
    tiny_llama: Path,
) -> None:
    model = model_of(tiny_llama)
    model.eval()
    work = largest_work([find_sharing(ROWS, ROOMY).work(ROWS)])
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    random = torch.get_rng_state()
    found = rehearse(model, work, ANSWER, nullcontext, pad_id=0)
    assert found.kept
    assert found.again
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert not model.is_activation_checkpointing


def test_gradients_that_were_there_are_put_back(tiny_llama: Path) -> None:
    model = model_of(tiny_llama)
    learning = [p for p in model.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.grad = torch.ones_like(parameter)
    with untouched(model):
        assert all(parameter.grad is None for parameter in learning)
    assert all(bool((p.grad == 1).all()) for p in learning if p.grad is not None)
    assert all(p.grad is not None for p in learning)


def test_the_largest_piece_is_the_one_with_most_tokens_its_prefix_among_them() -> None:
    steps = [find_sharing(ROWS, replace(ROOMY, batch_size=1)).work(ROWS[at::2]) for at in (0, 1)]
    work = largest_work(steps)
    assert len(work.pieces) == 1
    longest = max(ROWS, key=lambda row: len(row.prompt) + len(row.answer))
    assert longest in work.pieces[0]
    assert work.prefix == longest.prompt[: len(work.prefix)]


# A run


def full_unless_recomputed(learner: Learner, *_: Any) -> torch.Tensor:
    if learner.model.is_activation_checkpointing:
        return torch.zeros(())
    raise torch.OutOfMemoryError("CUDA out of memory")


def always_full(*_: Any) -> torch.Tensor:
    raise RuntimeError("CUDA error: out of memory")


@pytest.mark.parametrize("sharing", ["on", "off"])
def test_weights_are_bit_equal_with_and_without_a_rehearsal(
    sharing: str, run: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    how = {"prefix_sharing": sharing, "max_steps": 4}
    plain = train(run("plain", training=how)).folder
    request.getfixturevalue("on_a_gpu")
    seen: list[Rehearsed] = []

    def noted(*args: Any) -> Rehearsed:
        seen.append(rehearse(*args))
        return seen[0]

    monkeypatch.setattr(step_choices, "rehearse", noted)
    tried = train(run("tried", training=how)).folder
    assert len(seen) == 1
    assert adapter_bytes(tried) == adapter_bytes(plain)
    decided = read_json(tried / "manifest.json")["gradient_checkpointing"]
    assert decided["seconds_kept"] == seen[0].kept


@pytest.mark.usefixtures("on_a_gpu")
def test_a_piece_that_does_not_fit_turns_recomputing_on_before_step_1(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_little_memory(*args: Any) -> Rehearsed:
        with monkeypatch.context() as patched:
            patched.setattr(Learner, "learn", full_unless_recomputed)
            return rehearse(*args)

    monkeypatch.setattr(step_choices, "rehearse", in_little_memory)
    said: list[str] = []
    config = run(training={"max_steps": 1})
    folder = train(config, say=said.append).folder
    (sentence,) = [line for line in said if line.startswith("Activations")]
    assert "computed again in the backward pass" in sentence
    assert "memory is full on the largest piece" in sentence
    assert sentence in (folder / "training.log").read_text()
    decided = read_json(folder / "manifest.json")["gradient_checkpointing"]
    assert decided["on"]
    assert decided["seconds_kept"] is None


@pytest.mark.usefixtures("on_a_gpu")
def test_what_fits_in_no_way_ends_before_step_1_with_what_would_fit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "learn", always_full)
    with pytest.raises(TrainingError, match="set training.batch_size lower") as refused:
        train(run())
    assert refused.value.code == ErrorCode.CUDA_OUT_OF_MEMORY
    assert not run().output_dir.exists()


@pytest.mark.usefixtures("on_a_gpu")
def test_another_error_than_full_memory_is_no_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Learner, "learn", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train(run(training={"prefix_sharing": "off"}))


def stop_at(patched: pytest.MonkeyPatch) -> None:
    """Ask a run to stop at its first step."""
    step = HsdTrainer.training_step

    def stop(trainer: HsdTrainer, *args: Any, **more: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *args, **more)

    patched.setattr(HsdTrainer, "training_step", stop)


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("on", [True, False])
def test_a_resumed_run_takes_what_it_began_with(
    on: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = (2.0, 1.0) if on else (1.0, 2.0)
    monkeypatch.setattr(step_choices, "rehearse", lambda *_: Rehearsed(*times))
    monkeypatch.setattr(step_choices, "costs_on", lambda *_: PlannerCosts(512.0, 8.0))
    with monkeypatch.context() as patched:
        stop_at(patched)
        with pytest.raises(Stopped):
            train(run())
    monkeypatch.setattr(step_choices, "rehearse", lambda *_: Rehearsed(*times[::-1]))
    monkeypatch.setattr(step_choices, "costs_on", lambda *_: PlannerCosts(8.0, 0.5))
    folder = train(run()).folder
    manifest = read_json(folder / "manifest.json")
    assert manifest["gradient_checkpointing"]["on"] is on
    assert manifest["gradient_checkpointing"]["reason"] == "as since this run began"
    assert costs_before(folder) == PlannerCosts(512.0, 8.0)


# What it began with


@pytest.mark.parametrize(
    ("manifest", "recomputed", "costs"),
    [
        ({}, None, None),
        (
            {"prefix_sharing": {"shared": True}, "base": {"placement": {"device": "cuda:0"}}},
            True,
            PlannerCosts(),
        ),
        (
            {"prefix_sharing": {"shared": False}, "base": {"placement": {"device": "cpu"}}},
            False,
            PlannerCosts(),
        ),
        (
            {
                "prefix_sharing": {"shared": True, "call_tokens": 512.0, "pair_slowness": 4.0},
                "gradient_checkpointing": {"on": False},
            },
            False,
            PlannerCosts(512.0, 4.0),
        ),
    ],
    ids=["nothing", "an older run on a GPU", "an older run on a CPU", "a run"],
)
def test_what_a_run_began_with_is_read_from_its_manifest(
    manifest: dict[str, Any], recomputed: bool | None, costs: PlannerCosts | None, tmp_path: Path
) -> None:
    write_json(tmp_path / "manifest.json", manifest)
    assert recomputed_before(tmp_path) is recomputed
    assert costs_before(tmp_path) == costs


OLDER: dict[str, Any] = {"prefix_sharing": {"shared": True}}


@pytest.mark.parametrize(
    ("manifest", "asked", "device", "behind"),
    [
        ({}, "auto", "cuda:0", True),
        (OLDER, "auto", "cuda:0", False),
        (OLDER, "auto", "cpu", True),
        (OLDER, True, "cpu", False),
        (OLDER, False, "cuda:0", True),
        (OLDER | {"gradient_checkpointing": {"on": True}}, True, "cpu", True),
        (
            {
                "prefix_sharing": {"shared": True, "behind": False},
                "gradient_checkpointing": {"on": True},
            },
            True,
            "cpu",
            False,
        ),
    ],
)
def test_a_run_that_an_older_hsd_began_recomputing_never_learns_behind_a_prefix(
    manifest: dict[str, Any], asked: Any, device: str, behind: bool, tmp_path: Path
) -> None:
    rest = {
        "config": {"training": {"gradient_checkpointing": asked}},
        "base": {"placement": {"device": device}},
    }
    write_json(tmp_path / "manifest.json", rest | manifest)
    assert behind_before(tmp_path) is behind


def test_a_run_goes_on_with_each_prefix_in_its_piece_once_it_began_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run(training={"max_steps": 2, "prefix_sharing": "on"})
    with monkeypatch.context() as patched:
        patched.setattr(step_choices, "behind_before", lambda _: False)
        stop_at(patched)
        with pytest.raises(Stopped):
            train(config)
    folder = train(config).folder
    assert read_json(folder / "manifest.json")["prefix_sharing"]["behind"] is False


# The planner's costs


def test_on_a_cpu_the_planners_costs_are_the_usual_ones(tiny_llama: Path) -> None:
    model = model_of(tiny_llama)
    assert costs_on(model, ROWS, ROOMY.tokens, nullcontext, (False, True)) == PlannerCosts()


def test_three_pieces_are_timed_without_a_trace(tiny_llama: Path) -> None:
    model = model_of(tiny_llama)
    random = torch.get_rng_state()
    costs = measured(model, ROWS, 512, nullcontext, (False, True))
    assert costs.call_tokens > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.fixture
def in_which_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return, for each piece that is timed, whether its activations are computed again.

    Memory is full where they are kept.
    """
    ways: list[bool] = []

    def noted(learner: Learner, *args: Any) -> torch.Tensor:
        ways.append(learner.model.is_activation_checkpointing)
        return full_unless_recomputed(learner, *args)

    monkeypatch.setattr(Learner, "learn", noted)
    return ways


def test_where_activations_are_computed_again_pieces_are_timed_so(
    tiny_llama: Path, in_which_ways: list[bool]
) -> None:
    model = model_of(tiny_llama)
    measured(model, ROWS, 512, nullcontext, (True,))
    assert set(in_which_ways) == {True}
    assert not model.is_activation_checkpointing


def test_where_that_is_open_pieces_are_timed_so_once_memory_is_full(
    tiny_llama: Path, in_which_ways: list[bool]
) -> None:
    measured(model_of(tiny_llama), ROWS, 512, nullcontext, (False, True))
    assert in_which_ways[:2] == [False, True]
    assert all(in_which_ways[1:])


@pytest.mark.parametrize("ways", [(True,), (False, True)])
def test_where_no_piece_fits_the_planners_costs_are_the_usual_ones(
    ways: tuple[bool, ...], tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "learn", always_full)
    assert measured(model_of(tiny_llama), ROWS, 512, nullcontext, ways) == PlannerCosts()


@pytest.mark.parametrize(("asked", "ways"), [(True, (True,)), ("auto", (False, True))])
@pytest.mark.usefixtures("on_a_gpu")
def test_a_runs_pieces_are_timed_as_its_activations_are_held(
    asked: Any, ways: tuple[bool, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noted(*args: Any) -> PlannerCosts:
        given.append(args[-1])
        return PlannerCosts()

    monkeypatch.setattr(step_choices, "costs_on", noted)
    train(run(training={"max_steps": 1, "gradient_checkpointing": asked}))
    assert given == [ways]


def test_the_costs_decide_the_pieces_of_a_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def noted(**how: Any) -> Any:
        given.append(how["work"].__self__.limits)
        return HsdTrainer(**how)

    monkeypatch.setattr(training_run, "HsdTrainer", noted)
    monkeypatch.setattr(step_choices, "costs_on", lambda *_: PlannerCosts(512.0, 8.0))
    train(run(training={"max_steps": 1}))
    assert given[0].call_tokens == 512.0
