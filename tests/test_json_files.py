"""The JSON beside a base or an adapter: what is wrong with it is one line that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from hsd.errors import ModelError
from hsd.model.adapter_folder import unreadable
from hsd.model.json_files import NAMES, require_readable


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"[]", b"\xff{}", b"{", b'{"a":' * 60_000], ids=range(4))
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    require_readable(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}.*(not JSON|expected a JSON object)"):
        require_readable(tmp_path)


@pytest.mark.parametrize("size", [-64, 0, "64", 6.4, True, [64, -1]])
@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: Any, part: str | None) -> None:
    sizes = {"hidden_size": size, "vocab_size": 512}
    (tmp_path / "config.json").write_text(json.dumps({part: sizes} if part else sizes))
    with pytest.raises(ModelError, match=r"config\.json: hidden_size: expected a whole number"):
        require_readable(tmp_path)


def test_sizes_that_are_absent_or_differ_by_layer_are_taken(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "head_dim": None, "intermediate_size": [128, 0]}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": sizes, "vocab_size": 512}))
    require_readable(tmp_path)


LORA = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16.0}


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("r", "8"), ("r", -8), ("r", 8.5), ("r", True), ("lora_alpha", [16]), ("lora_dropout", "x"),
        ("base_model_name_or_path", ["a"]), ("base_model_name_or_path", 3), ("revision", {}),
        ("target_modules", 3), ("target_modules", [3]), ("rank_pattern", ["a"]),
        ("alpha_pattern", {"a": "b"}), ("init_lora_weights", 3), ("peft_type", ["LORA"]),
        ("task_type", 3), ("trainable_token_indices", "1,2"), ("bias", ["none"]),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_is_refused_by_its_name(name: str, odd: Any) -> None:
    assert unreadable(LORA) is None
    said = unreadable({**LORA, name: odd})
    assert said is not None
    assert said.startswith(f"{name}: ")
