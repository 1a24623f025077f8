"""`hsd merge` in a real process, signalled while the merged model lies half-checked on the disk."""

import signal
from pathlib import Path

import pytest
import small_runs
from ranks import Blow, hsd_command, hsd_train

from hsd.io.json_reader import read_json

pytestmark = [pytest.mark.model, pytest.mark.e2e]


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    config = small_runs.config(tiny_llama, folder, training={"epochs": 1})
    (folder / "config.json").write_text(config.model_dump_json())
    (ended,) = hsd_train(folder, ["--config_file", str(folder / "config.json")])
    assert ended.code == 0, ended.said
    return folder / "run"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_ends_it_at_once_and_nothing_half_written_is_left(
    number: int, adapter: Path, tmp_path: Path
) -> None:
    output = tmp_path / "models" / "merged"
    arguments = ["--adapter_path", str(adapter), "--output_dir", str(output), "--device_map", "cpu"]
    blow = Blow([number], at=0, what="probes on the merged model")
    (ended,) = hsd_command("merge", tmp_path, arguments, blow=blow)
    assert ended.code == 75, ended.said
    assert ended.said.endswith(
        "stopped; no incomplete model is left. Run the same command again.\n"
    )
    assert "Traceback" not in ended.said
    assert not output.parent.exists()
    (ended,) = hsd_command("merge", tmp_path, arguments)
    assert ended.code == 0, ended.said
    assert read_json(output / "manifest.json")["kind"] == "merge"


def test_what_killed_merges_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    """Each is as big as the model; folders that no merge made stay."""
    from hsd.model.merge import _remove_killed

    target = tmp_path / "merged"
    for name in (".merged.0a1b2c3d", ".merged.deadbeef", ".merged.mine", ".other.0a1b2c3d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "identity.json").write_text("{}")
    (tmp_path / ".merged.00000000").mkdir()
    _remove_killed(target)
    kept = {path.name for path in tmp_path.glob(".*")}
    assert kept == {".merged.mine", ".other.0a1b2c3d", ".merged.00000000"}
