"""Only whole checkpoints are resumed, and only as many as asked are kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hsd.training.checkpoints import (
    MARKER,
    Newest,
    damaged_best,
    mark_complete,
    newest_intact,
    put_best,
    remove_incomplete,
    remove_old,
    step_of,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def checkpoint(run: Path, step: int, *, complete: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"moments")
    if complete:
        mark_complete(folder, step)
    return folder


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def test_the_newest_is_the_one_of_the_highest_step_not_of_the_last_letter(run: Path) -> None:
    nine, hundred = checkpoint(run, 9), checkpoint(run, 100)
    assert newest_intact(run).checkpoint == hundred
    assert [step_of(nine), step_of(hundred)] == [9, 100]


def test_a_checkpoint_without_its_marker_is_not_resumed_and_is_removed(run: Path) -> None:
    whole = checkpoint(run, 10)
    checkpoint(run, 20, complete=False)
    assert newest_intact(run).checkpoint == whole
    remove_incomplete(run)
    assert names(run) == ["checkpoint-10"]


def test_what_a_kill_left_of_a_best_adapter_is_removed(run: Path) -> None:
    def write(best: Path) -> None:
        best.mkdir()
        (best / "adapter_config.json").write_text("{}")

    put_best(run, 10, write)
    (run / "best" / ".adapter-a1b2c3d4").mkdir()
    (run / "best" / ".adapter-a1b2c3d4" / "adapter_model.safetensors").write_bytes(b"half")
    (run / "best" / ".adapter_config.json.a1b2c3d4").write_text("{")
    remove_incomplete(run)
    assert names(run / "best") == ["adapter_config.json", "complete.json"]


def test_a_run_without_checkpoints_has_no_newest(run: Path) -> None:
    assert newest_intact(run).checkpoint is None
    checkpoint(run, 10, complete=False)
    assert newest_intact(run).checkpoint is None


def test_files_and_folders_of_other_names_are_left_alone(run: Path) -> None:
    (run / "checkpoint-best").mkdir()
    (run / "checkpoint-7").write_text("a file")
    remove_incomplete(run)
    remove_old(run, keep=1)
    assert names(run) == ["checkpoint-7", "checkpoint-best"]
    assert newest_intact(run).checkpoint is None


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(1, ["checkpoint-100"]), (2, ["checkpoint-100", "checkpoint-20"])],
)
def test_the_oldest_steps_go_first_whatever_the_times_of_the_files(
    run: Path, keep: int, kept: list[str]
) -> None:
    for step in (100, 20, 9):  # the last written is the oldest step, as after a copy
        checkpoint(run, step)
    remove_old(run, keep)
    assert names(run) == kept


def test_a_removal_that_is_killed_leaves_no_marked_rest(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = checkpoint(run, 1)
    checkpoint(run, 2)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_old(run, keep=1)
    assert not (old / MARKER).exists()


def test_a_flipped_bit_sends_a_run_back_to_the_checkpoint_before_with_a_word(run: Path) -> None:
    older, newer = checkpoint(run, 9), checkpoint(run, 100)
    flip(newer / "optimizer.pt")
    found = newest_intact(run)
    assert found.checkpoint == older
    (note,) = found.notes
    assert f"{newer}/optimizer.pt is not as it was written" in note
    assert note.endswith("going on from checkpoint-9 instead.")


@pytest.mark.parametrize("harm", ["flip", "delete", "empty", "marker"])
def test_a_run_without_an_intact_checkpoint_is_refused_and_not_begun_anew(
    run: Path, harm: str
) -> None:
    state = checkpoint(run, 9) / "optimizer.pt"
    ways: dict[str, Callable[[], object]] = {
        "flip": lambda: flip(state),
        "delete": state.unlink,
        "empty": lambda: state.write_bytes(b""),
        "marker": lambda: (state.parent / MARKER).write_bytes(b"\xff{"),
    }
    ways[harm]()
    found = newest_intact(run)
    assert found.checkpoint is None
    assert found.refusal
    assert str(state.parent) in found.refusal
    assert "no older checkpoint is whole" in found.refusal


def test_a_checkpoint_of_an_earlier_hsd_has_no_digests_and_is_taken(run: Path) -> None:
    old = checkpoint(run, 9)
    (old / MARKER).write_text('{"step": 9}')
    flip(old / "optimizer.pt")
    assert newest_intact(run) == Newest(old)


def test_files_in_folders_of_a_checkpoint_are_held_too(run: Path) -> None:
    folder = checkpoint(run, 9, complete=False)
    (folder / "inner").mkdir()
    (folder / "inner" / "state.bin").write_bytes(b"more moments")
    mark_complete(folder, 9)
    assert newest_intact(run).checkpoint == folder
    flip(folder / "inner" / "state.bin")
    assert newest_intact(run).checkpoint is None


def write_adapter(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")


def test_a_damaged_best_adapter_is_made_again_from_before_its_step(run: Path) -> None:
    for step in (5, 10, 15):
        checkpoint(run, step)
    put_best(run, 10, write_adapter)
    assert newest_intact(run).checkpoint == run / "checkpoint-15"
    flip(run / "best" / "adapter_model.safetensors")
    found = newest_intact(run)
    assert found.checkpoint == run / "checkpoint-5"
    assert "best/adapter_model.safetensors" in found.notes[0]


def test_a_kill_while_the_best_adapter_is_put_spoils_no_run(run: Path) -> None:
    checkpoint(run, 10)
    put_best(run, 10, write_adapter)

    def killed(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"newer weights")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_best(run, 20, killed)
    assert newest_intact(run) == Newest(run / "checkpoint-10")


def test_a_best_adapter_of_another_step_is_not_the_one_to_keep(run: Path) -> None:
    put_best(run, 110, write_adapter)
    assert damaged_best(run, 110) is None
    assert damaged_best(run, 50) == f"{run}/best holds the adapter of step 110"


@pytest.mark.parametrize("marker", [None, "{}"])
def test_a_best_adapter_whose_marker_names_no_step_is_taken(run: Path, marker: str | None) -> None:
    write_adapter(run / "best")
    if marker:
        (run / "best" / MARKER).write_text(marker)
    assert damaged_best(run, 50) is None
