"""A base is known by the bytes of its weight files, shards included, and by none elsewhere."""

import json
from pathlib import Path

import pytest

from hsd.errors import ModelError
from hsd.hub import weight_files
from hsd.hub.base_models import lacking
from hsd.hub.weight_files import INDEX, bytes_digest, shards_of
from hsd.hub.weight_files import weight_files as files_of


def index(folder: Path, *names: object) -> Path:
    weights = {f"layer.{number}": name for number, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"weight_map": weights}))
    return folder / INDEX


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    return tmp_path / "model.safetensors"


def changed(file: Path, at: int) -> str | None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    other = file.with_name("other")
    other.write_bytes(content)
    return bytes_digest([other])


def test_each_byte_of_a_small_base_counts(file: Path) -> None:
    known = bytes_digest([file])
    assert bytes_digest([file]) == known
    assert all(changed(file, at) != known for at in (0, 777, 16_383))
    file.write_bytes(file.read_bytes() + b"\0")
    assert bytes_digest([file]) != known


def test_of_a_large_base_bytes_all_over_it_and_the_sizes_count(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_files, "BLOCK", 16)
    monkeypatch.setattr(weight_files, "BLOCKS", 8)
    known = bytes_digest([file])
    step = 256 * 64 // 8
    assert all(changed(file, part * step) != known for part in range(8))
    assert changed(file, 100) == known  # between two blocks
    file.write_bytes(file.read_bytes() + b"\0")
    assert bytes_digest([file]) != known


def test_the_shards_that_an_index_names_are_the_weights(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors", "adapter_model.safetensors"):
        (tmp_path / name).write_text(name)
    index(tmp_path, "b.safetensors", "a.safetensors", "b.safetensors")
    assert [one.name for one in files_of(tmp_path)] == ["a.safetensors", "b.safetensors"]
    before = bytes_digest(files_of(tmp_path))
    (tmp_path / "b.safetensors").write_text("c.safetensors")
    assert bytes_digest(files_of(tmp_path)) != before


def test_a_gguf_file_is_known_by_its_own_bytes(tmp_path: Path) -> None:
    assert files_of(tmp_path) == []
    assert bytes_digest([]) is None
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/base.gguf").write_text("GGUF")
    assert [one.name for one in files_of(tmp_path)] == ["base.gguf"]


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "a\\x.safetensors", "pytorch_model.bin"]
)
def test_a_shard_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"names the file .*; expected one beside it"):
        shards_of(index(tmp_path, "a.safetensors", name))
    assert INDEX in lacking(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(ModelError, match=r"index\.json: (weight_map: )?expected"):
        shards_of(tmp_path / INDEX)
