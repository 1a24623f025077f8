"""A whole run in this process: what it leaves, when it stops, and that nothing is forgotten."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import small_runs
import torch
from present import present
from safetensors.torch import load_file
from small_runs import adapter_bytes, jsonl, metrics, posts

from hsd.config.loading import resolve_train_config
from hsd.config.train_config import TrainConfig
from hsd.errors import (
    ConfigError,
    DataError,
    HsdError,
    ModelError,
    PreflightError,
    Stopped,
    TrainingError,
)
from hsd.io.files import write_json
from hsd.io.json_reader import read_json
from hsd.io.manifest import update_manifest
from hsd.io.progress import Progress
from hsd.model import packing
from hsd.model.adapter import new_adapter
from hsd.model.base import Base, load_base
from hsd.prompts.contract import load_contract
from hsd.training import step_choices
from hsd.training import training_run as training
from hsd.training.checkpoints import newest_intact
from hsd.training.early_stopping import best_step, should_stop
from hsd.training.find_existing import claim_folder
from hsd.training.objective import Objective
from hsd.training.trainer import HsdTrainer
from hsd.training.training_plan import plan_training
from hsd.training.training_run import Trained, train

pytestmark = pytest.mark.model

Config = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of 9 steps that nothing disturbed; nobody writes into its folder."""
    return train(small_runs.config(tiny_llama, tmp_path_factory.mktemp("whole")))


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path) -> Config:
    """Give `config(**changes)`: the config of `whole` in a folder of its own."""
    return lambda **parts: small_runs.config(tiny_llama, tmp_path, **parts)


def signalled(number: int, step: int) -> Progress:
    """Return a progress that sends this process a signal once, before the end of `step`."""
    sent: list[int] = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "training" and done == step - 1 and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    return progress


# What a run leaves


def test_the_promised_files_are_there(whole: Trained) -> None:
    files = {str(path.relative_to(whole.folder)) for path in whole.folder.rglob("*")}
    assert files >= {
        "adapter_model.safetensors", "adapter_config.json", "prompt.json", "config.json",
        "manifest.json", "metrics.jsonl", "training.log", "checkpoint-9/optimizer.pt",
        "checkpoint-9/scheduler.pt", "checkpoint-9/adapter_model.safetensors",
    }  # fmt: skip
    assert list((whole.folder / "tensorboard").glob("events.out.tfevents.*"))
    assert read_json(whole.folder / "progress.json")["done"] == 9
    leftovers = [name for name in files if name.startswith(".") or name.endswith(".new")]
    assert leftovers == []


def test_metrics_hold_loss_gradient_norm_learning_rate_and_speed(whole: Trained) -> None:
    rows = [json.loads(line) for line in (whole.folder / "metrics.jsonl").read_text().splitlines()]
    learned = [row for row in rows if "loss" in row]
    judged = [row for row in rows if "eval_loss" in row]
    assert [row["step"] for row in learned] == [1, 2, 4, 6, 8, 9]
    assert [row["step"] for row in judged] == [3, 6, 9]
    for row in learned:
        assert {"loss", "grad_norm", "learning_rate", "tokens_per_second"} <= row.keys()
        assert row["tokens_per_second"] > 0
    assert all(0 <= row["eval_label_accuracy"] <= 1 for row in judged)
    assert judged[-1]["eval_loss"] < judged[0]["eval_loss"]  # it learns


def test_the_manifest_says_all_that_is_needed_to_repeat_the_run(whole: Trained) -> None:
    manifest = read_json(whole.folder / "manifest.json")
    assert manifest["config"]["training"]["epochs"] == 3
    assert manifest["seed"] == 42
    assert manifest["processes"] == 1
    assert manifest["data"]["train"]["rows"] == 11
    assert len(manifest["data"]["train"]["sha256"]) == 64
    assert manifest["data"]["prompt_hash"] == present(load_contract(whole.folder)).hash
    assert manifest["base"].keys() >= {"name", "revision", "weights_sha256", "quantization"}
    assert manifest["base"]["placement"]["device"] == "cpu"
    assert manifest["adapter"]["trainable_parameters"] > 0
    assert manifest["result"]["steps"] == 9
    assert manifest["gpu_hours"] == 0
    (start,) = manifest["starts"]
    assert start.keys() >= {"command", "packages", "git", "host", "slurm_job", "image_digest"}
    assert start["at"] <= manifest["finished"] <= start["ended"]


def test_the_written_config_reloads_to_an_equal_config(whole: Trained) -> None:
    file = whole.folder / "config.json"
    reloaded = resolve_train_config(str(file), ()).config
    assert reloaded == TrainConfig.model_validate_json(file.read_text())
    assert reloaded.output_dir == whole.folder
    assert reloaded.lora.target_modules == ("q_proj", "v_proj")


def test_the_log_says_how_many_processes_and_steps(whole: Trained) -> None:
    log = (whole.folder / "training.log").read_text()
    assert "11 rows, 9 steps of 4 rows, 1 process, 3 evaluations" in log
    assert whole.sentences()[0] == "9 steps in 1 process; all were taken."


def test_only_as_many_checkpoints_are_kept_as_asked(config: Config) -> None:
    run = train(config(training={"save_every_steps": 1, "keep_checkpoints": 2})).folder
    assert sorted(path.name for path in run.glob("checkpoint-*")) == [
        "checkpoint-8",
        "checkpoint-9",
    ]


# Same config, same adapter


def test_the_same_config_and_seed_give_the_identical_adapter(
    whole: Trained, config: Config
) -> None:
    again = train(config())
    assert adapter_bytes(again.folder) == adapter_bytes(whole.folder)
    assert metrics(again.folder) == metrics(whole.folder)


def test_another_seed_gives_another_adapter(whole: Trained, config: Config) -> None:
    assert adapter_bytes(train(config(seed=43)).folder) != adapter_bytes(whole.folder)


def test_only_the_adapters_weights_change(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Base] = []

    def remembered(*args: Any) -> Base:
        loaded.append(load_base(*args))
        return loaded[0]

    monkeypatch.setattr(training, "load_base", remembered)
    settings = config()
    run = train(settings).folder
    before = load_base(settings.model).model.state_dict()
    after = {
        name.replace(".base_layer", ""): weight
        for name, weight in loaded[0].model.state_dict().items()
        if "lora_" not in name
    }
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    learned = load_file(run / "adapter_model.safetensors")
    assert all("lora_" in name for name in learned)
    assert any(weight.abs().max() > 0 for name, weight in learned.items() if "lora_B" in name)


@pytest.mark.parametrize("sharing", ["on", "off"])
def test_recomputing_activations_changes_no_bit(
    sharing: str, config: Config, tmp_path: Path
) -> None:
    saving, keeping = (
        train(
            config(
                training={"gradient_checkpointing": recompute, "prefix_sharing": sharing},
                output_dir=str(tmp_path / f"recompute-{recompute}"),
            )
        )
        for recompute in (True, False)
    )
    assert adapter_bytes(saving.folder) == adapter_bytes(keeping.folder)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss", "tiny_mxfp4"])
def test_adapters_with_shared_prompts_and_without_agree_after_20_steps(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    adapters = {}
    for sharing in ("on", "off"):
        settings = small_runs.config(
            request.getfixturevalue(family),
            tmp_path,
            lora={"dropout": 0.0},
            training={"max_steps": 20, "learning_rate": 1e-3, "prefix_sharing": sharing},
            output_dir=str(tmp_path / sharing),
        )
        adapters[sharing] = load_file(train(settings).folder / "adapter_model.safetensors")
    on, off = (
        torch.cat([weights[name].flatten() for name in sorted(weights) if "lora_B" in name])
        for weights in adapters.values()
    )
    assert off.abs().max() > 1e-3  # they moved
    assert (on - off).norm() / off.norm() <= 1e-3


def test_sharing_that_would_gain_nothing_is_left_out_and_said_so(config: Config) -> None:
    alone = {"batch_size": 1, "accumulation": 1, "max_steps": 1}
    run = train(config(training=alone)).folder
    decided = read_json(run / "manifest.json")["prefix_sharing"]
    assert decided["shared"] is False
    assert decided["reason"] in (run / "training.log").read_text()
    assert "would gain little (1.00x)" in decided["reason"]


def test_a_model_that_fails_the_check_computes_rows_whole_or_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "attention_masks", Mock(return_value=None))
    with pytest.raises(TrainingError, match="prefix_sharing=on: .* Set it to auto or off"):
        train(config(training={"prefix_sharing": "on"}))
    said: list[str] = []
    run = train(config(training={"prefix_sharing": "auto", "max_steps": 1}), say=said.append)
    assert "computed whole: on a small exact twin of LlamaForCausalLM rows behind a" in said[0]
    decided = read_json(run.folder / "manifest.json")["prefix_sharing"]
    assert decided["shared"] is False
    assert decided["self_test"]["problem"] in decided["reason"]


def test_what_is_shared_is_said_before_the_first_step(config: Config) -> None:
    said: list[str] = []
    run = train(config(training={"max_steps": 1}), say=said.append).folder
    assert "Prompts share their first" in said[0]
    log = (run / "training.log").read_text()
    assert said[0] in log
    assert "rows behind a shared prompt differ from rows alone: an exact twin by" in log
    tested = read_json(run / "manifest.json")["prefix_sharing"]["self_test"]
    assert tested["passed"]
    assert 0 < tested["twin"]["gradient"] < 1e-4
    assert 0 <= tested["largest_difference"] < tested["tolerance"]


def test_a_4_bit_base_learns_with_an_adapter_in_float32(config: Config) -> None:
    steps = {"max_steps": 3, "warmup_steps": 0, "evaluate_every_steps": 1}  # it is judged between
    settings = config(model={"quantization": "nf4"}, training=steps)
    run = train(settings).folder
    weights = load_file(run / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert all(weight.abs().max() > 0 for weight in weights.values())
    assert read_json(run / "manifest.json")["base"]["quantized_share"] > 0.4


# Stopping on request and going on


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGINT, 5),  # neither logged nor saved by the schedule, in the middle of an epoch
        (signal.SIGTERM, 3),  # the end of an epoch
        (signal.SIGUSR2, 1),
    ],
)
def test_a_run_stopped_by_a_signal_and_resumed_equals_the_uninterrupted(
    whole: Trained, config: Config, number: int, step: int
) -> None:
    settings, before = config(), signal.getsignal(number)
    with pytest.raises(Stopped, match=rf"after step {step} of 9.*same command again") as stopped:
        train(settings, signalled(number, step))
    assert stopped.value.exit_code == 75
    run = settings.output_dir
    assert present(newest_intact(run).checkpoint).name == f"checkpoint-{step}"
    assert not (run / "adapter_model.safetensors").exists()
    assert signal.getsignal(number) == before

    resumed = train(settings)
    assert adapter_bytes(run) == adapter_bytes(whole.folder)
    assert metrics(run) == metrics(whole.folder)
    assert (resumed.steps, resumed.exported_step) == (whole.steps, whole.exported_step)
    starts = read_json(run / "manifest.json")["starts"]
    assert [start["resumed_from"] for start in starts] == [None, f"checkpoint-{step}"]
    assert all(start["ended"] for start in starts)


def test_a_signal_in_the_last_step_lets_the_run_finish(config: Config) -> None:
    assert train(config(), signalled(signal.SIGTERM, 9)).steps == 9


def test_what_was_logged_after_the_checkpoint_is_dropped_half_lines_too(
    whole: Trained, config: Config
) -> None:
    settings = config()
    with pytest.raises(Stopped):
        train(settings, signalled(signal.SIGTERM, 5))
    run = settings.output_dir
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 1.0}\n{"step": 6, "eval_lo')
    train(settings)
    assert metrics(run) == metrics(whole.folder)


def test_a_checkpoint_without_its_marker_is_passed_over_and_removed(
    whole: Trained, config: Config
) -> None:
    settings = config()
    with pytest.raises(Stopped):
        train(settings, signalled(signal.SIGTERM, 4))
    run = settings.output_dir
    half = shutil.copytree(run / "checkpoint-4", run / "checkpoint-8")
    (half / "complete.json").unlink()
    train(settings)
    assert read_json(run / "manifest.json")["starts"][-1]["resumed_from"] == "checkpoint-4"
    assert not half.exists()
    assert adapter_bytes(run) == adapter_bytes(whole.folder)


@pytest.fixture
def again(whole: Trained, tmp_path: Path) -> TrainConfig:
    """The config of a copy of `whole`, which is finished."""
    run = shutil.copytree(whole.folder, tmp_path / "run")
    own = TrainConfig.model_validate_json((run / "config.json").read_text())
    return own.model_copy(update={"output_dir": run})


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-len(content) // 3] ^= 0x41
    file.write_bytes(content)


def test_a_damaged_checkpoint_costs_steps_and_changes_no_adapter(
    whole: Trained, config: Config
) -> None:
    settings, said = config(), list[str]()
    with pytest.raises(Stopped):
        train(settings, signalled(signal.SIGTERM, 4))
    run = settings.output_dir
    assert {"checkpoint-3", "checkpoint-4"} <= {path.name for path in run.iterdir()}
    flip(run / "checkpoint-4/optimizer.pt")
    train(settings, say=said.append)
    (warning,) = (line for line in said if line.startswith("Warning: "))
    assert "checkpoint-4/optimizer.pt is not as it was written" in warning
    assert read_json(run / "manifest.json")["starts"][-1]["resumed_from"] == "checkpoint-3"
    assert adapter_bytes(run) == adapter_bytes(whole.folder)
    assert metrics(run) == metrics(whole.folder)


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "loss_0.json"]
)
def test_a_damaged_checkpoint_of_an_earlier_hsd_is_one_line(config: Config, name: str) -> None:
    settings = config()
    with pytest.raises(Stopped):
        train(settings, signalled(signal.SIGTERM, 2))
    folder = settings.output_dir / "checkpoint-2"
    (folder / "complete.json").write_text('{"step": 2}')
    (folder / name).write_bytes(b"")
    with pytest.raises(HsdError, match=r"checkpoint-2.*(a file of this checkpoint is|not JSON)"):
        train(settings)


@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_a_finished_run_that_lost_its_adapter_is_not_called_finished(
    whole: Trained, again: TrainConfig, harm: Callable[[Path], None]
) -> None:
    run = again.output_dir
    assert train(again).skipped
    harm(run / "adapter_model.safetensors")
    with pytest.raises(TrainingError, match=r"adapter_model\.safetensors is .*remove done\.json"):
        train(again)
    (run / "done.json").unlink()
    train(again)
    assert adapter_bytes(run) == adapter_bytes(whole.folder)


def test_a_finished_run_without_digests_is_finished(again: TrainConfig) -> None:
    file = again.output_dir / "done.json"
    done = read_json(file)
    del done["files"]
    write_json(file, done)
    assert train(again).skipped
    write_json(file, {})
    with pytest.raises(HsdError, match=r"done\.json: says nothing of processes"):
        train(again)


def test_a_best_adapter_that_changed_is_made_again(whole: Trained, again: TrainConfig) -> None:
    run = again.output_dir
    for name in ("done.json", "adapter_model.safetensors"):
        (run / name).unlink()
    flip(run / "best/adapter_model.safetensors")
    train(again)
    assert adapter_bytes(run) == adapter_bytes(whole.folder)


@pytest.mark.parametrize("validation", [0, 5])
def test_a_run_killed_after_its_last_checkpoint_ends_without_another_step(
    config: Config, validation: int
) -> None:
    settings = config(validation=validation, training={"max_steps": 5})  # in the second epoch
    first = train(settings)
    run, expected, logged = first.folder, adapter_bytes(first.folder), metrics(first.folder)
    for name in ("done.json", "adapter_model.safetensors", "adapter_config.json"):
        (run / name).unlink()
    again = train(settings)
    assert again == first
    assert adapter_bytes(run) == expected
    assert metrics(run) == logged


# Early stopping

# A learning rate that destroys the model after the first epochs, and would do so for ten.
DIVERGING: dict[str, Any] = {
    "training": {
        "epochs": 10,
        "learning_rate": 1.5,
        "scheduler": "constant",
        "warmup_steps": 0,
        "keep_checkpoints": 10,
    },
    "early_stopping": {"patience": 2, "unit": "epochs"},
}


def losses(run: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["eval_loss"]) for row in metrics(run) if "eval_loss" in row]


@pytest.fixture(scope="module")
def diverged(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run that early stopping ended; nobody writes into its folder."""
    return train(small_runs.config(tiny_llama, tmp_path_factory.mktemp("diverged"), **DIVERGING))


def test_early_stopping_fires_as_the_pure_function_says(diverged: Trained) -> None:
    judged = losses(diverged.folder)
    fired = [should_stop(judged[: n + 1], patience=6) for n in range(len(judged))]
    assert fired == [False] * (len(judged) - 1) + [True]
    assert diverged.stopped_early
    assert diverged.steps == judged[-1][0] < 30
    assert "early stopping ended it" in diverged.sentences()[0]


def test_the_adapter_of_the_best_evaluation_is_exported_not_the_last(diverged: Trained) -> None:
    judged = losses(diverged.folder)
    assert diverged.exported_step == best_step(judged) == diverged.steps - 6
    assert diverged.validation_loss == min(loss for _, loss in judged)
    best, last = (
        adapter_bytes(diverged.folder / f"checkpoint-{step}")
        for step in (diverged.exported_step, diverged.steps)
    )
    assert best != last
    assert adapter_bytes(diverged.folder) == best


def test_patience_goes_on_across_a_resume(diverged: Trained, config: Config) -> None:
    settings = config(**DIVERGING)
    with pytest.raises(Stopped):
        train(settings, signalled(signal.SIGTERM, diverged.steps - 2))
    resumed = train(settings)
    assert resumed.stopped_early
    assert (resumed.steps, resumed.exported_step) == (diverged.steps, diverged.exported_step)
    assert adapter_bytes(resumed.folder) == adapter_bytes(diverged.folder)
    assert metrics(resumed.folder) == metrics(diverged.folder)


def test_a_run_killed_after_early_stopping_does_not_go_on(
    diverged: Trained, tmp_path: Path
) -> None:
    run = shutil.copytree(diverged.folder, tmp_path / "killed")
    for name in ("done.json", "adapter_model.safetensors"):
        (run / name).unlink()
    config = resolve_train_config(str(run / "config.json"), (f"output_dir={run}",)).config
    again = train(config)
    assert (again.steps, again.stopped_early) == (diverged.steps, True)
    assert adapter_bytes(run) == adapter_bytes(diverged.folder)


def test_patience_that_runs_out_at_the_last_step_stopped_nothing(
    diverged: Trained, config: Config
) -> None:
    epochs = DIVERGING["training"] | {"epochs": diverged.steps / 3}
    trained = train(config(**DIVERGING | {"training": epochs}))
    assert trained.steps == diverged.steps
    assert should_stop(losses(trained.folder), patience=6)
    assert not trained.stopped_early


# A loss that is no number


class Steps:
    """A progress that remembers how many steps are done."""

    done = 0

    def __call__(self, done: int, total: int, what: str) -> None:  # noqa: ARG002
        if what == "training":
            self.done = done


def test_a_loss_that_is_no_number_stops_before_the_step_and_names_the_rows(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = small_runs.with_nan_word(tiny_llama, tmp_path / "broken", "§")
    rows = posts(11)
    rows[7]["text"] += " §"
    settings = small_runs.config(
        base, tmp_path, validation=0, training={"save_every_steps": 1, "epochs": 1}
    )
    jsonl(Path(settings.data.train_file), rows)
    step = 1 + training_order(settings, rows).index("p7") // 4
    assert step > 1  # so that there is a checkpoint to keep
    with pytest.raises(TrainingError, match=rf"step {step}: the loss is nan") as error:
        train(settings)
    assert error.value.exit_code == 12
    assert "It comes from: p7. " in str(error.value)
    run = settings.output_dir
    assert not (run / "adapter_model.safetensors").exists()
    checkpoint = newest_intact(run).checkpoint
    assert (checkpoint.name if checkpoint else None) == (
        f"checkpoint-{step - 1}" if step > 1 else None
    )


def test_an_infinite_loss_stops_the_run_even_where_its_gradient_is_finite(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Steps()

    loss = Objective.loss

    def overflowing(*args: Any) -> torch.Tensor:
        return loss(*args) + (torch.inf if watched.done == 1 else 0.0)

    monkeypatch.setattr(Objective, "loss", overflowing)
    with pytest.raises(TrainingError, match=r"step 2: the loss is inf; the step was not taken"):
        train(config(), watched)


def training_order(settings: Any, rows: list[dict[str, str]]) -> list[str]:
    """Return the ids of the rows in the order of the first epoch."""
    from hsd.training.batches import epoch_order

    prepared = plan_training(settings)
    lengths = [len(row.prompt) + len(row.answer) for row in prepared.rows.train]
    order = epoch_order(lengths, prepared.schedule.rows_per_step, 1, settings.seed, epoch=0)
    return [rows[index]["id"] for index in order]


def test_an_infinite_gradient_stops_before_the_step_and_the_run_can_go_on(
    whole: Trained, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:

    watched = Steps()

    def exploding(*args: Any) -> Any:
        model = new_adapter(*args)
        weight = next(p for p in model.parameters() if p.requires_grad)

        def explode(gradient: torch.Tensor) -> torch.Tensor:
            return gradient * torch.inf if watched.done == 4 else gradient

        weight.register_hook(explode)
        return model

    settings = config()
    with monkeypatch.context() as patched:
        patched.setattr(training, "new_adapter", exploding)
        with pytest.raises(TrainingError, match=r"step 5: the gradient norm is (nan|inf)") as error:
            train(settings, watched)
    assert (
        len(str(error.value).partition("Rows of the step: ")[2].partition(". ")[0].split(", ")) == 4
    )
    assert present(newest_intact(settings.output_dir).checkpoint).name == "checkpoint-3"
    train(settings)  # the cause is mended
    assert adapter_bytes(settings.output_dir) == adapter_bytes(whole.folder)
    assert metrics(settings.output_dir) == metrics(whole.folder)


def test_a_validation_loss_that_is_no_number_is_never_the_best(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = small_runs.with_nan_word(tiny_llama, tmp_path / "broken", "§")
    settings = small_runs.config(base, tmp_path)
    rows = posts(5, first=1000)
    rows[2]["text"] += " §"
    jsonl(Path(settings.data.validation_file), rows)
    with pytest.raises(TrainingError, match="step 3: the validation loss is nan"):
        train(settings)
    assert not (settings.output_dir / "best").exists()


# Refused before anything is loaded


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*args: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(training, "load_base", loaded)


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_finished_run_is_skipped(whole: Trained) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    settings = resolve_train_config(str(whole.folder / "config.json"), ()).config
    again = train(settings)
    assert again.skipped
    assert (again.steps, again.exported_step) == (whole.steps, whole.exported_step)
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")} == before


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("finished", [True, False])
def test_a_run_does_not_go_on_when_the_files_of_its_base_have_changed(
    again: TrainConfig, finished: bool
) -> None:
    run = again.output_dir
    base = read_json(run / "manifest.json")["base"]
    if not finished:
        (run / "done.json").unlink()
    update_manifest(run, base=base | {"files_sha256": "0" * 64})
    with pytest.raises(PreflightError, match=r"weight files of .* changed since .*output_dir"):
        train(again)


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_finished_run_of_an_hsd_that_knew_no_files_of_a_base_is_skipped(
    again: TrainConfig,
) -> None:
    base = read_json(again.output_dir / "manifest.json")["base"]
    update_manifest(again.output_dir, base={k: v for k, v in base.items() if "files" not in k})
    assert train(again).skipped


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ("lora.rank=5", r"config\.lora\.rank: 4 -> 5"),
        ("seed=1", r"config\.seed: 42 -> 1"),
        ("data.max_train_rows=10", r"config\.data\.max_train_rows.*train\.rows: 11 -> 10"),
        ("prompt.strategy=conservative", r"prompt\.strategy.*prompt_hash"),
    ],
)
def test_a_folder_of_another_run_is_refused_saying_what_differs(
    whole: Trained, changes: str, difference: str
) -> None:
    settings = resolve_train_config(str(whole.folder / "config.json"), (changes,)).config
    with pytest.raises(PreflightError, match=rf"belongs to another run; differs in .*{difference}"):
        train(settings)


@pytest.mark.usefixtures("nothing_is_loaded")
def test_the_same_file_with_other_rows_is_another_run(config: Config) -> None:
    settings = config(validation=0)
    claim_folder(plan_training(settings))
    jsonl(Path(settings.data.train_file), posts(11, first=3))
    with pytest.raises(PreflightError, match=r"differs in train\.sha256"):
        train(settings)


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_folder_with_other_peoples_files_is_refused(config: Config) -> None:
    settings = config()
    settings.output_dir.mkdir()
    (settings.output_dir / "thesis.txt").write_text("do not touch")
    with pytest.raises(PreflightError, match="not empty and not a run of hsd"):
        train(settings)
    assert [path.name for path in settings.output_dir.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_disk_too_small_for_the_checkpoints_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two layers, q 64 x 64 and v 64 x 32, rank 4; 12 bytes each; 2 kept, 1 in the making, the best.
    needed = 2 * 4 * (64 + 64 + 64 + 32) * 12 * 4

    def disk(free: int) -> None:
        usage = shutil.disk_usage("/")._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    disk(needed - 1)
    with pytest.raises(PreflightError, match="GB free, but keeping checkpoints needs"):
        train(config())
    disk(needed)
    with pytest.raises(AssertionError, match="weights were loaded"):
        train(config())


@pytest.mark.usefixtures("nothing_is_loaded")
def test_an_unknown_target_module_is_refused_with_a_near_name(config: Config) -> None:
    with pytest.raises(
        ModelError, match=r"'q_prj' is no linear layer of .* Did you mean 'q_proj'\?"
    ):
        train(config(lora={"target_modules": ["q_prj"]}))


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_warm_up_longer_than_the_run_is_refused(config: Config) -> None:
    with pytest.raises(PreflightError, match="warm-up of 9 steps never ends"):
        train(config(training={"warmup_steps": 9}))


def with_context(base: Path, folder: Path, positions: int) -> Path:
    """Return a copy of a base that was made for so many positions."""
    copy = shutil.copytree(base, folder)
    config = read_json(copy / "config.json")
    (copy / "config.json").write_text(json.dumps(config | {"max_position_embeddings": positions}))
    return copy


def test_no_row_is_longer_than_the_bases_context_and_the_limit_is_said(
    tiny_llama: Path, tmp_path: Path
) -> None:
    rows = plan_training(small_runs.config(tiny_llama, tmp_path)).rows.train
    lengths = [len(row.prompt) + len(row.answer) for row in rows]
    context = (min(lengths) + max(lengths)) // 2
    base = with_context(tiny_llama, tmp_path / "short", context)
    said: list[str] = []
    settings = small_runs.config(base, tmp_path, training={"max_steps": 1})
    train(settings, say=said.append)
    assert said[0] == (
        f"data.max_length 1024 is more than the {context} positions of {base}; no row gets longer "
        f"than {context} tokens."
    )
    held = plan_training(settings).rows.train
    assert max(len(row.prompt) + len(row.answer) for row in held) <= context
    assert any(row.shortened for row in held)
    with pytest.raises(DataError, match=rf"{context}"):
        train(small_runs.config(base, tmp_path, data={"overflow": "fail"}))
    tiny = with_context(tiny_llama, tmp_path / "tiny", 20)
    with pytest.raises(DataError, match="data.max_length cannot raise the model's 20 positions"):
        train(small_runs.config(tiny, tmp_path))
    within = small_runs.config(base, tmp_path, data={"max_length": context})
    assert plan_training(within).notes() == []


@pytest.mark.usefixtures("nothing_is_loaded")
def test_an_unknown_strategy_is_refused_with_a_near_name(config: Config) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'standard'"):
        train(config(prompt={"strategy": "standart"}))


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_the_one_before_goes_on(
    whole: Trained, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    settings, save = config(), torch.save

    def full(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if "checkpoint-6" in str(path):
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 1 vs 0")
        save(value, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="checkpoint of step 6 cannot be written.*goes on from"):
        train(settings)
    monkeypatch.undo()
    assert present(newest_intact(settings.output_dir).checkpoint).name == "checkpoint-3"
    train(settings)
    assert adapter_bytes(settings.output_dir) == adapter_bytes(whole.folder)


def test_float16_is_refused_for_training(config: Config) -> None:
    settings = config()
    half = settings.model_copy(
        update={"model": settings.model.model_copy(update={"dtype": "float16"})}
    )
    with pytest.raises(PreflightError, match="float16.*bfloat16"):
        train(half)
    assert not settings.output_dir.exists()


def test_a_full_gpu_is_one_line_with_what_would_work(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(HsdTrainer, "training_step", full)
    with pytest.raises(TrainingError, match="training.batch_size lower"):
        train(config())


@pytest.mark.parametrize("what", ["training_step", "choose_sharing", "load_base"])
def test_full_memory_is_one_line_wherever_a_run_meets_it(
    what: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")

    where = {"training_step": HsdTrainer, "choose_sharing": step_choices, "load_base": training}
    monkeypatch.setattr(where[what], what, full)
    with pytest.raises(TrainingError, match="memory is full; set training.batch_size lower"):
        train(config())


@pytest.mark.parametrize("on", [True, False])
def test_who_recomputes_already_is_not_told_to(
    on: bool, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(HsdTrainer, "training_step", full)
    with pytest.raises(TrainingError) as refused:
        train(config(training={"gradient_checkpointing": on}))
    assert ("gradient_checkpointing=true" in str(refused.value)) is not on


def test_the_manifest_counts_the_bases_parameters_without_the_adapters(config: Config) -> None:
    settings = config()
    run = train(settings).folder
    bare = load_base(settings.model).model
    assert read_json(run / "manifest.json")["base"]["parameters"] == bare.num_parameters()


@pytest.mark.parametrize(
    ("objective", "says"),
    [("answer", ["training.balance", "training.label_smoothing"]), ("label", [])],
)
def test_settings_that_the_objective_does_not_read_are_said(
    objective: str, says: list[str], config: Config
) -> None:
    said: list[str] = []
    asked = {"balance": "label", "label_smoothing": 0.1, "objective": objective}
    train(config(training={"max_steps": 1, **asked}), say=said.append)
    found = [line for line in said if line.startswith("Changes nothing without")]
    idle = ", ".join(says)
    assert found == ([f"Changes nothing without training.objective=label: {idle}."] if says else [])
