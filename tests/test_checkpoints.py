"""Only whole checkpoints are resumed, and only as many as asked are kept."""

from pathlib import Path

import pytest

from hsd.training.checkpoints import (
    MARKER,
    mark_complete,
    newest_complete,
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


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def test_the_newest_is_the_one_of_the_highest_step_not_of_the_last_letter(run: Path) -> None:
    nine, hundred = checkpoint(run, 9), checkpoint(run, 100)
    assert newest_complete(run) == hundred
    assert [step_of(nine), step_of(hundred)] == [9, 100]


def test_a_checkpoint_without_its_marker_is_not_resumed_and_is_removed(run: Path) -> None:
    whole = checkpoint(run, 10)
    checkpoint(run, 20, complete=False)
    assert newest_complete(run) == whole
    remove_incomplete(run)
    assert names(run) == ["checkpoint-10"]


def test_a_run_without_checkpoints_has_no_newest(run: Path) -> None:
    assert newest_complete(run) is None
    checkpoint(run, 10, complete=False)
    assert newest_complete(run) is None


def test_files_and_folders_of_other_names_are_left_alone(run: Path) -> None:
    (run / "checkpoint-best").mkdir()
    (run / "checkpoint-7").write_text("a file")
    remove_incomplete(run)
    remove_old(run, keep=1)
    assert names(run) == ["checkpoint-7", "checkpoint-best"]
    assert newest_complete(run) is None


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
