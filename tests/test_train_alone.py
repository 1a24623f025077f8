"""One training at a time in a folder: a second one is refused, a replaced one writes no more."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from ranks import PATIENCE_S, hsd_train
from small_runs import adapter_bytes, metrics
from stolen import stolen
from waiting import until

from hsd.errors import InUseError, TakenOver
from hsd.io import lease
from hsd.io.json_reader import read_json
from hsd.io.lease import hold_lease
from hsd.training.checkpoints import newest_intact

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run."""
    from hsd.training.training_run import train

    return train(small_runs.config(tiny_llama, tmp_path_factory.mktemp("whole"))).folder


def files(run: Path) -> dict[str, int]:
    """Return what lies in a run, but for its lease and its curves, and when it was changed."""
    return {
        str(path.relative_to(run)): path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.is_file() and path.name != ".lease" and path.parent.name != "tensorboard"
    }


def test_the_same_training_started_while_it_runs_is_refused_and_harms_nothing(
    whole: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.training.training_run import train

    config = small_runs.config(tiny_llama, tmp_path)
    refused = []

    def start_again(done: int, total: int, what: str) -> None:
        if what == "training" and done in (1, 4):
            with torch.random.fork_rng(), pytest.raises(InUseError, match="is in use: ") as error:
                train(config)  # another process would draw numbers of its own
            refused.append(str(error.value))

    run = train(config, start_again).folder
    assert len(refused) == 2
    assert adapter_bytes(run) == adapter_bytes(whole)
    assert metrics(run) == metrics(whole)
    assert len(read_json(run / "manifest.json")["starts"]) == 1
    assert not list(run.glob(".lease*"))


def test_what_a_kill_right_before_the_end_left_goes_with_the_next_start(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.training.training_run import train

    config = small_runs.config(tiny_llama, tmp_path, training={"epochs": 1})
    run = train(config).folder
    stolen(run / ".lease", pid=2**22 + 7)  # a process that is no more
    (run / ".manifest.json.abcd1234").write_text("{")
    assert train(config).skipped
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_training_that_another_start_finished_meanwhile_was_finished_before(
    whole: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.training import training_run as training
    from hsd.training.processes import linked

    config = small_runs.config(tiny_llama, tmp_path)

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(training, "linked", linked)
        assert not training.train(config).skipped
        return linked(*arguments)

    monkeypatch.setattr(training, "linked", meanwhile)
    found = training.train(config)
    assert found.skipped
    assert adapter_bytes(found.folder) == adapter_bytes(whole)


def test_a_training_whose_lease_was_taken_stops_and_writes_no_more(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.training.training_run import train

    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    run, seen = tmp_path / "run", {}

    def steal(done: int, total: int, what: str) -> None:
        if what == "training" and done == 5:
            stolen(run / ".lease")
            request: Any = signal.getsignal(signal.SIGUSR2)
            until(lambda: request.lost, "the news")
            seen.update(files(run))

    with pytest.raises(TakenOver, match="was taken over: hsd train "):
        train(small_runs.config(tiny_llama, tmp_path), steal)
    assert files(run) == seen
    assert (run / ".lease").exists(), "it is another's"
    assert read_json(run / "manifest.json")["starts"][-1]["ended"] is None


def test_before_much_is_written_the_lease_is_looked_at(tiny_llama: Path, tmp_path: Path) -> None:
    from hsd.training.training_run import train

    run = tmp_path / "run"

    def steal(done: int, total: int, what: str) -> None:
        if what == "training" and done == 5:
            stolen(run / ".lease")

    with pytest.raises(TakenOver):
        train(small_runs.config(tiny_llama, tmp_path), steal)
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-3"]


@pytest.mark.e2e
def test_all_ranks_are_refused_in_the_same_words(tiny_llama: Path, tmp_path: Path) -> None:
    config = small_runs.config(tiny_llama, tmp_path)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    with hold_lease(config.output_dir, "hsd train"):
        ended = hsd_train(tmp_path, ["--config_file", str(tmp_path / "config.json")], ranks=2)
    assert [rank.code for rank in ended] == [3, 3], ended
    said = {rank.said.splitlines()[-1] for rank in ended}
    assert len(said) == 1
    assert said.pop().startswith(f"Error: {config.output_dir} is in use: hsd train (process ")
    assert all("Traceback" not in rank.said for rank in ended)
    assert not config.output_dir.exists()


@pytest.mark.e2e
def test_all_ranks_of_a_training_whose_lease_was_taken_stop(
    tiny_llama: Path, tmp_path: Path
) -> None:
    steps = {"batch_size": 1, "epochs": 300, "save_every_steps": 1}
    config, ended = small_runs.config(tiny_llama, tmp_path, training=steps), []
    (tmp_path / "config.json").write_text(config.model_dump_json())
    command = ["--config_file", str(tmp_path / "config.json")]
    start = threading.Thread(target=lambda: ended.extend(hsd_train(tmp_path, command, ranks=2)))
    start.start()
    until(lambda: newest_intact(config.output_dir).checkpoint, "a checkpoint", PATIENCE_S)
    stolen(config.output_dir / ".lease")
    before = (config.output_dir / ".lease").read_bytes()
    start.join()
    assert [rank.code for rank in ended] == [75, 75], ended
    assert all(" was taken over: hsd train " in rank.said.splitlines()[-1] for rank in ended)
    assert (config.output_dir / ".lease").read_bytes() == before
