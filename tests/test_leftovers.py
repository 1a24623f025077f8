"""Files that hold posts, files that a kill left behind, disks that are full, files of others."""

import errno
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hsd.errors import EvaluationError
from hsd.io.files import atomic_file, naming, write_atomic, write_json, write_jsonl
from hsd.io.lease import hold_lease
from hsd.io.log_file import logging_to
from hsd.io.run_identity import claim
from hsd.prediction import Prediction
from hsd.report.predictions import append_predictions
from hsd.report.replaceable import require_replaceable

KILLED = """
import os, signal, sys
from pathlib import Path
from hsd.io.files import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write("{")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> Path:
    """Return what is left of a file whose writer was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = set(path.parent.iterdir())
    root = str(Path(__file__).parent.parent)
    subprocess.run([sys.executable, "-c", KILLED, str(path.absolute())], cwd=root, check=False)
    (left,) = set(path.parent.iterdir()) - before
    return left


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def prediction(name: str) -> Prediction:
    return Prediction(
        id=name, strategy="s", text="a day", true_label="normal", label="normal", outcome="valid"
    )


# Leftovers


def test_a_start_that_was_killed_in_its_first_write_may_be_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    left = killed_while_writing(folder / "identity.json")
    with hold_lease(folder, "hsd train"):
        claim(folder, {"kind": "train"})
        assert not left.exists()
    claim(folder, {"kind": "train"})


@pytest.mark.parametrize(
    "name", ["predictions.jsonl", "report.html", "adapter_model.safetensors", "x_20260102.csv"]
)
def test_what_a_kill_left_is_removed_by_the_next_start(name: str, tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / "run" / name)
    assert left.exists()
    with hold_lease(tmp_path / "run", "hsd evaluate"):
        assert not left.exists()


def test_files_of_a_person_stay(tmp_path: Path) -> None:
    names = [".bashrc", ".notes.txt", ".config.jsonl", "predictions.jsonl", ".x.json.backup"]
    for name in names:
        (tmp_path / name).write_text("mine")
    with hold_lease(tmp_path, "hsd prepare"):
        pass
    assert {path.name for path in tmp_path.iterdir()} >= set(names)


def test_an_export_that_was_killed_leaves_no_folder(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for folder in (run / ".adapter-ab12_x9z", elsewhere):
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_text("x")
    (run / ".adapter-abcdefgh").symlink_to(elsewhere)
    with hold_lease(run, "hsd train"):
        assert {path.name for path in run.iterdir()} == {".lease"}
    assert (elsewhere / "adapter_model.safetensors").exists()


# Who may read posts


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_posts_are_for_their_owner_alone_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        append_predictions(tmp_path / "a.jsonl", [prediction("1")])
        write_jsonl(tmp_path / "b.jsonl", [{"text": "x"}], posts=True)
        write_atomic(tmp_path / "c.html", "x", posts=True)
        write_json(tmp_path / "d.json", {})
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.html")] == [0o600] * 3
    assert mode(tmp_path / "d.json") == 0o666 & ~umask


def test_a_mode_that_somebody_chose_stays(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    append_predictions(file, [prediction("1")])
    file.chmod(0o640)
    append_predictions(file, [prediction("2")])
    write_jsonl(file, [{"text": "x"}], posts=True)
    assert mode(file) == 0o640


def test_each_file_of_an_evaluation_that_holds_posts_is_private(tmp_path: Path) -> None:
    from hsd.report.evaluation_files import write_evaluation

    rows = [prediction("1"), prediction("2")]
    write_evaluation(tmp_path, rows, {}, "20260102_030405")
    for file in tmp_path.glob("*.*"):
        if file.is_file() and "a day" in file.read_text(encoding="utf-8"):
            assert mode(file) == 0o600, file
    assert mode(tmp_path / "validation_results_20260102_030405.csv") == 0o600
    assert mode(tmp_path / "report.html") != 0o600


# Full disks


def test_a_log_on_a_full_disk_prints_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to(Path("/dev/full")):
        logging.getLogger("hsd.x").info("a line")
    assert capfd.readouterr().err == ""


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left") as caught, atomic_file(file):
        raise full
    assert caught.value.filename == str(file)
    with pytest.raises(OSError, match="No space left") as caught, naming(Path("y")):
        raise OSError(errno.ENOSPC, "No space left on device", "other")
    assert caught.value.filename == "other"


# Files of others


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", "<!doctype html><title>Comparison of evaluations</title>"),
        ("a.html", "<title>Cells of mine</title>"),
        ("a.md", "# Evaluations by set\n"),
        ("a.json", '{"schema": 3, "comparisons": []}'),
    ],
)
def test_a_comparison_replaces_a_comparison(name: str, text: str) -> None:
    require_replaceable(Path("absent.html"))
    Path(name).write_text(text)
    require_replaceable(Path(name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("report.html", "<title>Evaluation of x</title>"),
        ("README.md", "# My thesis\n# Cells of it\n"),
        ("package.json", '{"name": "x"}'),
        ("broken.json", "{"),
        ("empty.md", ""),
    ],
)
def test_a_comparison_replaces_nothing_else(name: str, text: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(EvaluationError, match="is no comparison of hsd; name another --output"):
        require_replaceable(Path(name))


def test_a_folder_in_the_place_of_a_file_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "pages" / "a.html"
    folder.mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        write_atomic(folder, "x")
    assert caught.value.filename == str(folder)
    assert list(folder.parent.rglob("*")) == [folder]
