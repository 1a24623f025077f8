"""Patterns in an adapter's config are foreign code of a kind: they end, or are refused."""

from pathlib import Path
from typing import Any

import pytest

from hsd.errors import ModelError
from hsd.model import patterns
from hsd.model.patterns import require_patterns

NAMES = [f"model.layers.{i}.self_attn.{p}_proj" for i in range(30) for p in "qkvo"]
FILE = Path("adapter_config.json")


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": r".*layers\.\d+\.self_attn\.(q|v)_proj"},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": None},
        {"rank_pattern": {r"layers\.\d+\..*": 4}, "alpha_pattern": {}},
        {},
    ],
)
def test_what_people_write_is_taken(config: dict[str, Any]) -> None:
    require_patterns(config, NAMES, FILE)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"target_modules": r"(([a-z0-9_]+)+\.?)+X"}, "target_modules"),
        ({"exclude_modules": r"(([a-z0-9_]+)+\.?)+X"}, "exclude_modules"),
        ({"rank_pattern": {r"(([a-z0-9_]+)+\.?)+X": 3}}, "rank_pattern"),
    ],
)
def test_a_pattern_without_an_end_is_refused(
    config: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.1)
    with pytest.raises(ModelError, match=f"{key} .* has not been matched .* after 0.1 seconds"):
        require_patterns(config, NAMES, FILE)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[z-a]"])
def test_what_is_no_pattern_is_one_line(pattern: str) -> None:
    with pytest.raises(ModelError, match=r"target_modules .* is no pattern") as caught:
        require_patterns({"target_modules": pattern}, NAMES, FILE)
    assert "\n" not in str(caught.value)
