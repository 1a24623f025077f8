"""progress.json: how far a run is, told now and then and at the end."""

from functools import partial
from pathlib import Path

from hsd.io.json_reader import read_json
from hsd.io.progress_file import EVERY_S, PROGRESS, ProgressFile
from hsd.io.shard import Shard


def test_it_is_written_at_once_and_then_now_and_then(tmp_path: Path) -> None:
    clock = iter([0.0, EVERY_S / 2, EVERY_S + 1])
    counted: list[int] = []
    file = ProgressFile(tmp_path, "steps", clock=lambda: next(clock))

    def count(done: int) -> int:
        counted.append(done)
        return done

    for done in (3, 4, 5):
        file(partial(count, done), 10)
        content = read_json(tmp_path / PROGRESS)
    assert counted == [3, 5], "rows are counted only where they are written"
    assert (content["unit"], content["done"], content["total"]) == ("steps", 5, 10)
    assert content["began"]["done"] == 3


def test_the_end_of_a_start_is_written_however_soon_it_comes(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path, "steps", clock=lambda: 0.0)
    file(lambda: 0, 10)
    file(lambda: 4, 10)
    assert read_json(tmp_path / PROGRESS)["done"] == 0
    file(lambda: 4, 10, is_end=True)
    assert read_json(tmp_path / PROGRESS)["done"] == 4


def test_each_of_several_shards_writes_its_own(tmp_path: Path) -> None:
    for index in range(2):
        ProgressFile(tmp_path, "rows", Shard(index, 2))(partial(int, index), 3)
    files = sorted(tmp_path.glob("progress*"))
    assert [file.name for file in files] == [
        "progress.shard-0-of-2.json",
        "progress.shard-1-of-2.json",
    ]
    assert [read_json(file)["done"] for file in files] == [0, 1]
