"""Names below a run's folder, and finding a run again by name, path or `last`."""

from pathlib import Path

import pytest

from hsd.errors import PreflightError
from hsd.io.files import write_json
from hsd.io.run_identity import set_name
from slurm.run.run_folder import RunFolder, find_run, remember, split_target, whole_stage


def run(path: Path, *cells: str) -> Path:
    write_json(path / "run.json", {"name": path.name, "cells": [{"name": c} for c in cells]})
    return path.absolute()


def test_everything_has_its_place() -> None:
    folder = RunFolder(Path("/r/mine"))
    shown = {
        "config": folder.config("a"),
        "train": folder.train("a"),
        "attempts": folder.attempts("a", "train"),
        "done": folder.done("a", "train"),
        "evaluate": folder.evaluate("a", "unified"),
        "submission": folder.submission(1, "train"),
        "log": folder.log(1, "train", "7_0", "err"),
    }
    assert {name: str(path.relative_to("/r/mine")) for name, path in shown.items()} == {
        "config": "cells/a/config.json",
        "train": "cells/a/train",
        "attempts": "cells/a/attempts/train.jsonl",
        "done": "cells/a/train.done.json",
        "evaluate": "cells/a/evaluate/unified",
        "submission": "submissions/001/train",
        "log": "submissions/001/train/7_0_0_log.err",
    }


@pytest.mark.parametrize("name", ["train", "train-2", "train.2", "train.2-3"])
def test_all_arrays_of_a_stage_share_events_and_marker(name: str) -> None:
    assert whole_stage(name) == "train"
    assert RunFolder(Path("r")).done("a", name).name == "train.done.json"


def test_two_data_files_of_one_name_have_two_folders() -> None:
    one, other = set_name("/data/a/test.jsonl"), set_name("/data/b/test.jsonl")
    assert one != other
    assert one.startswith("test-")
    assert set_name("canned_50_quick") == "canned_50_quick"
    assert set_name("../..").strip("./") == set_name("../..")


def test_a_run_is_found_by_path_by_root_and_by_what_was_remembered(tmp_path: Path) -> None:
    made = run(tmp_path / "somewhere" / "mine")
    assert find_run(str(made)).path == made
    assert find_run("mine", [tmp_path / "somewhere"]).path == made
    remember(made)
    assert find_run("mine").path == made
    assert find_run("last").path == made


def test_last_is_the_newest_that_is_still_there(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "one"):
        remember(run(tmp_path / name))
    assert find_run("last").name == "one"
    (tmp_path / "one" / "run.json").unlink()
    assert find_run("last").name == "three"


def test_of_two_runs_of_one_name_the_newest_is_meant(tmp_path: Path) -> None:
    remember(run(tmp_path / "a" / "mine"))
    remember(run(tmp_path / "b" / "mine"))
    assert find_run("mine").path == tmp_path / "b" / "mine"


def test_an_unknown_run_is_answered_with_the_nearest(tmp_path: Path) -> None:
    remember(run(tmp_path / "lora_presets"))
    with pytest.raises(
        PreflightError, match="lora_preset: no such run. Did you mean 'lora_presets'"
    ):
        find_run("lora_preset")
    with pytest.raises(PreflightError, match=r"no run\.json inside"):
        find_run(str(tmp_path))


def test_without_a_run_last_says_what_would_work() -> None:
    with pytest.raises(PreflightError, match=r"no run was started by `hsd run` yet"):
        find_run("last")


def test_a_target_may_be_a_name_or_a_path_with_cell_and_stage(tmp_path: Path) -> None:
    made = run(Path("runs") / "mine", "a")
    for text, rest in [
        ("mine", []),
        ("mine/a", ["a"]),
        ("mine/a/train-2", ["a", "train-2"]),
        ("runs/mine/a/train", ["a", "train"]),
        (f"{made}/baseline/", ["baseline"]),
        ("mine/all/compare", ["all", "compare"]),
    ]:
        found, names = split_target(text)
        assert (found.path, names) == (made, rest)


def test_an_unknown_cell_is_answered_with_the_nearest() -> None:
    run(Path("runs") / "mine", "default")
    with pytest.raises(PreflightError, match="mine: no cell 'defualt'. Did you mean 'default'"):
        split_target("mine/defualt/train")
    with pytest.raises(PreflightError, match="yours: no such run. Did you mean|yours: no such run"):
        split_target("yours/default")
