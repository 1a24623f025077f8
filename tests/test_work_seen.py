"""How far an attempt came, as its supervisor saw it, for what a requeue cost."""

from pathlib import Path
from typing import Any

from hsd.io.files import write_json
from hsd.io.progress_file import ProgressFile, progress_name
from hsd.io.shard import Shard
from slurm.node.work_seen import EVERY_S, WorkSeen


def progress(folder: Path, done: int, first: int, at: str) -> None:
    content: dict[str, Any] = {"unit": "rows", "done": done, "total": 99, "at": at}
    write_json(folder / "progress.json", content | {"began": {"done": first, "at": at}})


def test_it_is_what_the_run_itself_writes(tmp_path: Path) -> None:
    seen = WorkSeen(str(tmp_path), "**/progress.json")
    (tmp_path / "run_1").mkdir()
    ProgressFile(tmp_path / "run_1", "steps")(lambda: 7, 10)
    facts = seen.facts()
    assert facts is not None
    assert (facts["unit"], facts["first"], facts["done"]) == ("steps", 7, 7)


def test_what_an_earlier_attempt_left_is_not_this_one_s(tmp_path: Path) -> None:
    progress(tmp_path, 50, 0, "2026-11-27T01:00:00+00:00")
    seen = WorkSeen(str(tmp_path), "progress.json")
    assert seen.before is not None
    assert seen.before["done"] == 50
    assert seen.facts() is None
    progress(tmp_path, 60, 40, "2026-11-27T02:00:00+00:00")
    assert seen.facts() == {
        "unit": "rows", "done": 60, "first": 40, "first_at": "2026-11-27T02:00:00+00:00",
    }  # fmt: skip


def test_a_file_that_is_gone_at_the_end_was_seen_before(tmp_path: Path) -> None:
    clock = iter([0.0, 1.0, EVERY_S + 1])
    seen = WorkSeen(str(tmp_path), "progress.json", clock=lambda: next(clock))
    seen.look()
    progress(tmp_path, 10, 0, "2026-11-27T02:00:00+00:00")
    seen.look()  # too soon after the first look
    seen.look()
    (tmp_path / "progress.json").unlink()
    facts = seen.facts()
    assert facts is not None
    assert facts["done"] == 10


def test_a_start_that_ends_between_two_looks_is_seen_whole(tmp_path: Path) -> None:
    seen = WorkSeen(str(tmp_path), "progress.json", clock=lambda: 0.0)
    seen.look()
    file = ProgressFile(tmp_path, "steps")
    file(lambda: 3, 4)
    file(lambda: 4, 4, is_end=True)
    facts = seen.facts()
    assert facts is not None
    assert (facts["first"], facts["done"]) == (3, 4)


def test_a_damaged_file_or_none_tells_nothing(tmp_path: Path) -> None:
    assert WorkSeen().facts() is None
    (tmp_path / "progress.json").write_text('{"done": ')
    assert WorkSeen(str(tmp_path), "progress.json").facts() is None
    (tmp_path / "progress.json").write_text('{"done": 1, "began": 3}')
    assert WorkSeen(str(tmp_path), "progress.json").facts() is None


def test_rows_of_another_shard_are_not_this_one_s(tmp_path: Path) -> None:
    first, second = Shard(0, 2), Shard(1, 2)
    own = f"**/{progress_name(second)}"
    seen = WorkSeen(str(tmp_path), own)
    (tmp_path / "run_1").mkdir()
    ProgressFile(tmp_path / "run_1", "rows", first)(lambda: 3000, 9000)
    assert seen.facts() is None, "it was killed before its first row"
    ProgressFile(tmp_path / "run_1", "rows", second)(lambda: 5, 9000)
    facts = seen.facts()
    assert facts is not None
    assert facts["done"] == 5
