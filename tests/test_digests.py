"""A marker's digests: a file that is not what they say is one line, and a marker without is old."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from hsd.errors import ModelError, PreflightError
from hsd.io.digests import FILES, damage, digests, recorded_digests, require_intact
from hsd.io.files import write_json
from hsd.io.hashes import sha256_text
from hsd.model.adapter_folder import adapter_digest


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Return the folder of a finished training, as far as digests go."""
    (tmp_path / "adapter_model.safetensors").write_text("weights")
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    names = ("adapter_model.safetensors", "adapter_config.json")
    write_json(tmp_path / "done.json", {"steps": 9, FILES: digests(tmp_path, names)})
    return tmp_path


def test_what_was_written_is_intact(adapter: Path) -> None:
    assert damage(adapter) is None
    assert recorded_digests(adapter)["adapter_model.safetensors"] == sha256_text("weights")
    assert adapter_digest(adapter) == sha256_text("weights")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_is_not_as_its_training_wrote_it_is_refused(
    adapter: Path, name: str
) -> None:
    (adapter / name).write_text("another")
    with pytest.raises(ModelError, match=rf"{name} is not as its training wrote it"):
        adapter_digest(adapter)
    with pytest.raises(ModelError, match=rf"{name} is not as it was written.*; train again\."):
        require_intact(adapter, ModelError, "train again")


def test_a_lost_file_is_named(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    assert damage(adapter) == f"{adapter / 'adapter_model.safetensors'} is missing"


def test_a_file_that_cannot_be_read_is_damaged(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsd.io.digests.sha256_file", Mock(side_effect=OSError(5, "I/O error")))
    assert damage(adapter) == f"{adapter / 'adapter_config.json'} cannot be read (I/O error)"


@pytest.mark.parametrize("marker", [None, {"steps": 9}])
def test_a_folder_without_digests_is_held_to_nothing(
    adapter: Path, marker: dict[str, int] | None
) -> None:
    (adapter / "done.json").unlink()
    if marker:
        write_json(adapter / "done.json", marker)
    (adapter / "adapter_model.safetensors").write_text("another")
    assert damage(adapter) is None
    assert adapter_digest(adapter) == sha256_text("another")


@pytest.mark.parametrize("files", [3, ["a"], {"a": 3}])
def test_digests_of_another_kind_are_refused(adapter: Path, files: object) -> None:
    (adapter / "done.json").write_text(json.dumps({FILES: files}))
    with pytest.raises(PreflightError, match=r"done\.json: files: expected the sha256 of each"):
        damage(adapter)
