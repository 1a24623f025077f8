"""The benchmark of a gpt-oss of true shapes, on one of a thousandth of it."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.model


def test_a_checkpoint_of_random_weights_is_loaded_trained_scored_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gptoss_memory import main

    work = tmp_path / "bench"
    assert main(["--tiny", "--work", str(work), "--rows", "2"]) == 0
    said, _, _ = capsys.readouterr().out.partition("| stage ")
    found = json.loads(said)
    assert list(found) == ["write", "load", "step", "score"]
    assert found["step"]["steps"] == 1
    assert found["load"]["weights_gb"] == pytest.approx(found["write"]["weights_gb"], rel=0.02)
    assert found["step"]["rows"] == 2
    assert 0 < found["step"]["shared_tokens"] < found["step"]["tokens"] / 2
    assert found["load"]["peak_of_weights"] > 1
    assert 0 < found["load"]["of_files_gb"] < found["load"]["resident_gb"]
    assert all(figures["peak_gb"] > 0 for figures in found.values())
    assert not (work / "base").exists()
    run = json.loads((work / "run/manifest.json").read_text())
    assert run["base"]["quantization"] == "packed"
    assert run["prefix_sharing"]["shared"]


def test_the_shapes_are_those_of_gpt_oss_20b() -> None:
    from benchmarks.packed_checkpoint import TRUE, checkpoint_gb

    assert checkpoint_gb(TRUE) == pytest.approx(13.76, abs=0.02)
