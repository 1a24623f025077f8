"""`hsd train` in real processes: killed, signalled, and under the launchers."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from present import present
from ranks import Blow, free_port, hsd_train
from safetensors.torch import load_file
from small_runs import adapter_bytes, metrics

from hsd.io.json_reader import read_json
from hsd.training.checkpoints import newest_intact

pytestmark = [pytest.mark.model, pytest.mark.e2e]

CHECKOUT = Path(__file__).parent.parent

# 9 steps, a checkpoint every second one: most kills are in the middle of an epoch of 3 steps.
OFTEN = {"save_every_steps": 2}
# The same 9 steps of 4 rows in two processes. 11 rows: the last step of an epoch is uneven.
TWO = OFTEN | {"batch_size": 1}


def config_file(base: Path, folder: Path, **training: Any) -> Path:
    config = small_runs.config(base, folder, training=training)
    file = folder / "config.json"
    file.write_text(config.model_dump_json())
    return file


def arguments(file: Path, run: Path) -> list[str]:
    return ["--config_file", str(file), "--output_dir", str(run)]


def launched(launcher: list[str], *command: str, **environment: str) -> Any:
    """Run `launcher -m jobs.train ...` to its end."""
    return subprocess.run(
        [
            str(Path(sys.executable).parent / launcher[0]),
            *launcher[1:],
            "-m",
            "jobs.train",
            *command,
        ],
        cwd=CHECKOUT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def one(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run in one process; its config lies beside it."""
    folder = tmp_path_factory.mktemp("one")
    file = config_file(tiny_llama, folder, **OFTEN)
    (ended,) = hsd_train(folder, arguments(file, folder / "run"))
    assert ended.code == 0, ended.said
    return folder / "run"


@pytest.fixture(scope="module")
def two(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run under torchrun with two processes."""
    folder = tmp_path_factory.mktemp("two")
    file = config_file(tiny_llama, folder, **TWO)
    launcher = ["torchrun", "--nproc_per_node", "2", "--master_port", str(free_port())]
    done = launched(launcher, *arguments(file, folder / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("9 steps in 2 processes; all were taken.") == 1  # one rank speaks
    return folder / "run"


@pytest.fixture
def again(tmp_path: Path) -> Callable[..., Any]:
    """Give `again(like, ...)`: run the config of another run in a folder of this test."""

    def start(like: Path, ranks: int = 1, blow: Blow | None = None) -> Any:
        file = like.parent / "config.json"
        return hsd_train(tmp_path, arguments(file, tmp_path / "run"), ranks, blow)

    return start


# Killed


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_steps_and_resumed_equals_uninterrupted(
    one: Path, again: Callable[..., Any], tmp_path: Path, seed: int
) -> None:
    first, second = sorted(random.Random(seed).sample(range(1, 9), 2))
    for step in (first, second):
        (ended,) = again(one, blow=Blow([signal.SIGKILL], at=step))
        assert ended.code == -signal.SIGKILL
        saved = newest_intact(tmp_path / "run").checkpoint
        assert (saved.name if saved else None) == {
            0: None, 1: "checkpoint-2", 2: "checkpoint-4", 3: "checkpoint-6"
        }[(step - 1) // 2]  # fmt: skip
    (ended,) = again(one)
    assert ended.code == 0, ended.said
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(one)
    assert metrics(tmp_path / "run") == metrics(one)
    starts = read_json(tmp_path / "run/manifest.json")["starts"]
    assert [start["ended"] is None for start in starts] == [True, True, False]


def test_killed_while_a_checkpoint_is_written_goes_on_from_the_one_before(
    one: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    (ended,) = again(one, blow=Blow([signal.SIGKILL], at=6, what="saving"))
    assert ended.code == -signal.SIGKILL
    assert (tmp_path / "run/checkpoint-6/optimizer.pt").exists()
    assert present(newest_intact(tmp_path / "run").checkpoint).name == "checkpoint-4"
    (ended,) = again(one)
    assert ended.code == 0, ended.said
    resumed_from = read_json(tmp_path / "run/manifest.json")["starts"][-1]["resumed_from"]
    assert resumed_from == "checkpoint-4"
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(one)
    assert metrics(tmp_path / "run") == metrics(one)


def test_one_of_two_ranks_killed_and_both_resumed_equals_uninterrupted(
    two: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    step = random.Random(3).randrange(3, 9)
    ended = again(two, ranks=2, blow=Blow([signal.SIGKILL], at=step, rank=0))
    assert ended[0].code == -signal.SIGKILL
    assert ended[1].code != 0
    ended = again(two, ranks=2)
    assert [rank.code for rank in ended] == [0, 0], ended
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(two)
    assert metrics(tmp_path / "run") == metrics(two)


# Signalled


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_leaves_a_checkpoint_exit_code_75_and_how_to_go_on(
    one: Path, again: Callable[..., Any], tmp_path: Path, number: int
) -> None:
    (ended,) = again(one, blow=Blow([number], at=4))
    assert ended.code == 75
    assert "stopped after step 5 of 9" in ended.said
    assert "Run the same command again to go on." in ended.said
    assert "Traceback" not in ended.said
    assert present(newest_intact(tmp_path / "run").checkpoint).name == "checkpoint-5"
    (ended,) = again(one)
    assert ended.code == 0, ended.said
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(one)
    assert metrics(tmp_path / "run") == metrics(one)


def test_a_second_ctrl_c_ends_a_single_process_at_once(
    one: Path, again: Callable[..., Any]
) -> None:
    (ended,) = again(one, blow=Blow([signal.SIGINT, signal.SIGINT], at=4))
    assert ended.code == 130
    assert "Traceback" not in ended.said


def test_a_signal_to_one_rank_stops_all_at_the_same_step(
    two: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    ended = again(two, ranks=2, blow=Blow([signal.SIGUSR2], at=4, rank=1))
    assert [rank.code for rank in ended] == [75, 75], ended
    assert all("stopped after step 5 of 9" in rank.said for rank in ended)
    saved = present(newest_intact(tmp_path / "run").checkpoint)
    assert saved.name == "checkpoint-5"
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in saved.iterdir()}
    ended = again(two, ranks=2)
    assert [rank.code for rank in ended] == [0, 0], ended
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(two)
    assert metrics(tmp_path / "run") == metrics(two)


def test_a_terminals_ctrl_c_that_the_launcher_repeats_still_leaves_a_checkpoint(
    two: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    ended = again(two, ranks=2, blow=Blow([signal.SIGINT, signal.SIGINT], at=4, rank=1))
    assert [rank.code for rank in ended] == [75, 75], ended
    assert present(newest_intact(tmp_path / "run").checkpoint).name == "checkpoint-5"


@pytest.mark.parametrize(("ranks", "rank"), [(1, 0), (2, 1)])
def test_a_signal_while_the_base_is_loaded_stops_all_before_the_first_step(
    two: Path, again: Callable[..., Any], tmp_path: Path, ranks: int, rank: int
) -> None:
    blow = Blow([signal.SIGUSR2] * 3, at=0, what="loading", rank=rank)
    ended = again(two, ranks=ranks, blow=blow)
    assert [one.code for one in ended] == [75] * ranks, ended
    assert all(
        one.said.endswith(
            "stopped before the first step of this start; run the same command again to go on.\n"
        )
        for one in ended
    )
    assert not (tmp_path / "run").exists()


def test_a_signal_while_a_resumed_run_loads_keeps_its_checkpoint(
    one: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    again(one, blow=Blow([signal.SIGTERM], at=4))
    (ended,) = again(one, blow=Blow([signal.SIGTERM], at=0, what="loading"))
    assert ended.code == 75
    assert present(newest_intact(tmp_path / "run").checkpoint).name == "checkpoint-5"
    (ended,) = again(one)
    assert ended.code == 0, ended.said
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(one)


# Several processes


def test_each_of_two_processes_draws_a_dropout_of_its_own(two: Path) -> None:
    first, second = (
        torch.load(two / f"checkpoint-9/rng_state_{rank}.pth", weights_only=False)["cpu"]
        for rank in (0, 1)
    )
    assert not torch.equal(first, second)


def test_torchrun_records_its_processes(two: Path) -> None:
    assert read_json(two / "manifest.json")["processes"] == 2
    assert "11 rows, 9 steps of 4 rows, 2 processes" in (two / "training.log").read_text()


@pytest.mark.parametrize(
    ("family", "sharing"),
    [("tiny_llama", "on"), ("tiny_llama", "off"), ("tiny_gpt_oss", "on"), ("tiny_mxfp4", "on")],
)
def test_two_processes_learn_what_one_learns(
    family: str, sharing: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(family)
    steps = {"learning_rate": 1e-3, "epochs": 2, "prefix_sharing": sharing}
    runs = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        # Nine rows in steps of four: in each third step one of two processes has none.
        config = small_runs.config(
            base, folder, 9, lora={"dropout": 0.0}, training=steps | {"batch_size": 2 // ranks}
        )
        (folder / "config.json").write_text(config.model_dump_json())
        ended = hsd_train(tmp_path, arguments(folder / "config.json", folder / "run"), ranks)
        assert [rank.code for rank in ended] == [0] * ranks, ended
        runs.append(folder / "run")
    alone, together = (load_file(run / "adapter_model.safetensors") for run in runs)
    moved = torch.cat([alone[name].flatten() for name in sorted(alone) if "lora_B" in name])
    other = torch.cat([together[name].flatten() for name in sorted(alone) if "lora_B" in name])
    assert (moved - other).norm() / moved.norm() <= 1e-5
    for mine, theirs in zip(*map(metrics, runs), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


def test_accelerate_on_cpu_processes_gives_torchruns_adapter(two: Path, tmp_path: Path) -> None:
    port = str(free_port())
    launcher = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"]
    done = launched(
        [*launcher, "--main_process_port", port],
        *arguments(two.parent / "config.json", tmp_path / "run"),
        ACCELERATE_USE_CPU="true",
    )
    assert done.returncode == 0, done.stderr
    assert "9 steps in 2 processes" in done.stdout
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(two)


def test_accelerate_that_starts_one_process_instead_of_two_is_refused(
    two: Path, tmp_path: Path
) -> None:
    done = launched(
        ["accelerate", "launch", "--cpu", "--num_processes", "2"],
        *arguments(two.parent / "config.json", tmp_path / "run"),
    )
    assert done.returncode != 0
    assert "exit status 3" in done.stderr  # hsd's own, as accelerate reports it
    assert "was asked for several processes but started one" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_refused_is_refused_by_all_ranks_in_one_line(
    two: Path, tmp_path: Path
) -> None:
    command = [*arguments(two.parent / "config.json", two), "--set", "seed=7"]
    ended = hsd_train(tmp_path, command, ranks=2)
    assert [rank.code for rank in ended] == [3, 3]
    assert all("differs in config.seed: 42 -> 7" in rank.said for rank in ended)
    assert all("Traceback" not in rank.said for rank in ended)


def test_a_loss_that_is_no_number_on_one_rank_stops_all_and_names_the_same_rows(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = small_runs.with_nan_word(tiny_llama, tmp_path / "broken", "§")
    config = small_runs.config(base, tmp_path, training=TWO)
    rows = small_runs.posts(11)
    rows[7]["text"] += " §"
    small_runs.jsonl(Path(config.data.train_file), rows)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    ended = hsd_train(tmp_path, ["--config_file", str(tmp_path / "config.json")], ranks=2)
    assert [rank.code for rank in ended] == [12, 12], ended
    errors = {rank.said.strip().splitlines()[-1] for rank in ended}
    assert len(errors) == 1
    assert "the loss is nan" in errors.pop()
    assert all("p7" in rank.said for rank in ended)
    assert all("Traceback" not in rank.said for rank in ended)
