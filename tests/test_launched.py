"""hsd under torchrun as a SLURM job starts it: stopped by signals, and on two nodes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import small_runs
from ranks import PATIENCE_S, free_port, hsd_command, hsd_train
from small_runs import adapter_bytes, metrics
from waiting import until

from hsd.io.json_reader import read_json
from hsd.io.lease import ticks_of
from hsd.report.predictions import PREDICTIONS, read_predictions
from hsd.training.checkpoints import newest_intact
from slurm.node.descendants import descendants

pytestmark = [pytest.mark.model, pytest.mark.e2e]

CHECKOUT = Path(__file__).parent.parent
IGNORING = ("sh", "-c", 'trap "" USR2 TERM; exec "$@"', "sh")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2")


def launched(output: Path, *command: object) -> subprocess.Popen[bytes]:
    """Start a launcher that ignores what its ranks stop on; all of them write to `output`."""
    with output.open("w") as file:
        return subprocess.Popen(
            [str(word) for word in (*IGNORING, *TORCHRUN, *command)],
            cwd=CHECKOUT,
            # torchrun sets TORCHELASTIC_SIGNALS_TO_HANDLE itself, from this.
            env=os.environ | {"PET_SIGNALS_TO_HANDLE": "SIGINT", "SLURM_JOB_ID": "17"},
            stdout=file,
            stderr=file,
        )


def bare(output: Path, *command: object) -> subprocess.Popen[bytes]:
    """Start a launcher as a script without any precaution does."""
    # Commands that other tests run in this process leave it ignored, and a child inherits that.
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    with output.open("w") as file:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=CHECKOUT,
            env=os.environ | {"ACCELERATE_USE_CPU": "true"},
            stdout=file,
            stderr=file,
        )


def told_until_it_ends(process: Any, folder: Path, begun: str) -> None:
    """Once there is a file like `begun`, send SIGUSR2 to all processes below, again and again."""
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        below = descendants(process.pid)
        late = time.monotonic() > end
        for pid in below if late or list(folder.glob(begun)) else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGUSR2)
        time.sleep(0.02)


def training(base: Path, folder: Path, epochs: int, **changes: Any) -> list[str]:
    steps = {"batch_size": 1, "save_every_steps": 50, "epochs": epochs} | changes
    config = small_runs.config(base, folder, training=steps)
    (folder / "config.json").write_text(config.model_dump_json())
    return ["--config_file", str(folder / "config.json"), "--output_dir"]


def evaluation(base: Path, folder: Path, rows: int) -> list[str]:
    file = small_runs.jsonl(folder / "rows.jsonl", small_runs.posts(rows))
    asked = [f"--model_name={base}", f"--data_file={file}", "--prompt_template=baseline"]
    return [*asked, "--batch_size=1", "--set=model.device=cpu", "--output_dir"]


def answers(output: Path) -> list[tuple[Any, ...]]:
    (run,) = output.iterdir()
    return [(p.id, p.label, p.reply) for p in read_predictions(run / PREDICTIONS)]


def test_ranks_that_are_told_again_and_again_save_once_and_go_on_to_the_same_adapter(
    tiny_llama: Path, tmp_path: Path
) -> None:
    command = training(tiny_llama, tmp_path, epochs=20)  # 60 steps
    process = launched(
        tmp_path / "said", "--standalone", "-m", "jobs.train", *command, tmp_path / "run"
    )
    told_until_it_ends(process, tmp_path, "run/manifest.json")
    said = (tmp_path / "said").read_text()
    assert process.returncode == 1, said
    assert said.count("stopped after step") == 2, said
    assert said.count("exitcode  : 75") == 2, said
    assert said.count("host ") >= 1
    saved = newest_intact(tmp_path / "run").checkpoint
    assert saved is not None
    for name in ("run", "whole"):
        ended = hsd_train(tmp_path, [*command, str(tmp_path / name)], ranks=2)
        assert [rank.code for rank in ended] == [0, 0], ended
    starts = read_json(tmp_path / "run/manifest.json")["starts"]
    assert [start["resumed_from"] for start in starts] == [None, saved.name]
    assert adapter_bytes(tmp_path / "run") == adapter_bytes(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


ACCELERATE = (
    *(str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu"),
    *("--num_processes", "2", "--main_process_port", "0"),
)


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        ((*TORCHRUN, "--standalone"), signal.SIGKILL),
        ((*TORCHRUN, "--standalone"), signal.SIGTERM),
        (ACCELERATE, signal.SIGUSR2),
    ],
    ids=["torchrun killed", "torchrun ended", "accelerate launch signalled"],
)
def test_ranks_whose_launcher_dies_save_and_end_and_the_same_command_goes_on(
    launcher: tuple[str, ...], number: int, tiny_llama: Path, tmp_path: Path
) -> None:
    command = training(tiny_llama, tmp_path, epochs=20)  # 60 steps
    run = tmp_path / "run"
    process = bare(tmp_path / "said", *launcher, "-m", "jobs.train", *command, run)
    until(lambda: (run / "metrics.jsonl").exists(), "the first step", PATIENCE_S)
    below = descendants(process.pid)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) != 0
    until(lambda: not any(ticks_of(pid) for pid in below), "the ranks to end", PATIENCE_S)
    said = (tmp_path / "said").read_text()
    assert said.count("stopped after step") == 2, said
    saved = newest_intact(run).checkpoint
    assert saved is not None, said
    assert not (run / ".lease").exists()
    ended = hsd_train(tmp_path, [*command, str(run)], ranks=2)
    assert [rank.code for rank in ended] == [0, 0], ended
    starts = read_json(run / "manifest.json")["starts"]
    assert [start["resumed_from"] for start in starts] == [None, saved.name]


def test_ranks_that_are_told_again_and_again_keep_their_answers(
    tiny_llama: Path, tmp_path: Path
) -> None:
    command = evaluation(tiny_llama, tmp_path, rows=300)
    process = launched(
        tmp_path / "said", "--standalone", "-m", "jobs.evaluate", *command, tmp_path / "eval"
    )
    told_until_it_ends(process, tmp_path, "eval/*/predictions.rank0.jsonl")
    said = (tmp_path / "said").read_text()
    assert process.returncode == 1, said
    assert said.count("of 300 rows; run the same command again to go on.") == 2, said
    assert said.count("exitcode  : 75") == 2, said
    ended = hsd_command("evaluate", tmp_path, [*command, str(tmp_path / "eval")], ranks=2)
    assert [rank.code for rank in ended] == [0, 0], ended
    (whole,) = hsd_command("evaluate", tmp_path, [*command, str(tmp_path / "whole")])
    assert whole.code == 0, whole.said
    assert answers(tmp_path / "eval") == answers(tmp_path / "whole")


def test_two_nodes_of_two_ranks_end_well_with_the_same_adapter_again(
    tiny_llama: Path, tmp_path: Path
) -> None:
    """11 rows in steps of 4: in the last step of an epoch one of the four ranks has none."""
    commands = {
        "train": training(tiny_llama, tmp_path, epochs=3, accumulation=1),
        "evaluate": evaluation(tiny_llama, tmp_path, rows=7),
    }
    for name, command in commands.items():
        port = free_port()
        processes = [
            launched(
                tmp_path / f"said{node}",
                *("--nnodes", 2, "--node_rank", node),
                *("--master_addr", "127.0.0.1", "--master_port", port),
                *("-m", f"jobs.{name}", *command, tmp_path / name),
            )
            for node in (0, 1)
        ]
        for process in processes:
            told_until_it_ends(process, tmp_path, "never")
        assert [process.returncode for process in processes] == [0, 0], (
            tmp_path / "said0"
        ).read_text()
        said = [(tmp_path / f"said{node}").read_text() for node in (0, 1)]
        assert said[0].count("host ") == 1, "the first of all ranks speaks for the job"
        assert "host " not in said[1]
    assert read_json(tmp_path / "train/manifest.json")["processes"] == 4
    ended = hsd_train(tmp_path, [*commands["train"], str(tmp_path / "again")], ranks=4)
    assert [rank.code for rank in ended] == [0] * 4, ended
    assert adapter_bytes(tmp_path / "again") == adapter_bytes(tmp_path / "train")
    (alone,) = hsd_command("evaluate", tmp_path, [*commands["evaluate"], str(tmp_path / "alone")])
    assert alone.code == 0, alone.said
    assert answers(tmp_path / "evaluate") == answers(tmp_path / "alone")
