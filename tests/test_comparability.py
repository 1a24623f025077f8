"""Which runs may be compared: those whose numbers were had in one way."""

from pathlib import Path

import pytest

from hsd.errors import EvaluationError
from hsd.io.files import write_json
from hsd.report.comparability import RunSettings, asked_of, mismatches, require_comparable


@pytest.mark.parametrize(
    ("mode", "one", "other", "said"),
    [
        ("generate", None, "vllm", ["engine hsd and vllm"]),  # vLLM writes an answer's form alone
        ("generate", "vllm", "openai", ["engine vllm and openai"]),
        ("generate", None, "openai", []),
        ("generate", "vllm", "vllm", []),
        ("score", None, "vllm", []),  # checked to be the same numbers
        ("score", None, "openai", ["engine hsd and openai"]),  # of a few likely tokens
        ("score", "vllm", "openai", ["engine vllm and openai"]),
        ("score", "openai", "openai", []),
        ("score", "imported", "openai", []),
        (None, "imported", "vllm", []),
    ],
)
def test_runs_of_two_engines_are_compared_only_where_the_numbers_are_the_same(
    mode: str | None, one: str | None, other: str | None, said: list[str]
) -> None:
    runs = [RunSettings("hash", mode, engine=engine) for engine in (one, other)]
    assert mismatches(*runs) == said
    named = dict(zip(("one", "other"), runs, strict=True))
    if not said:
        require_comparable(named)
        return
    with pytest.raises(EvaluationError, match=rf"{said[0]}.* --engine, or add --ignore-mode-mis"):
        require_comparable(named)


def test_a_run_of_another_mode_is_told_by_its_mode_alone() -> None:
    one, other = RunSettings("hash", "score"), RunSettings("hash", "generate", engine="vllm")
    assert mismatches(one, other) == ["mode score and generate"]


def test_a_report_says_that_vllm_answered(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"engine": "vllm", "prompt": {"hash": "0123456789abcd"}})
    write_json(tmp_path / "identity.json", {"mode": "score"})
    assert asked_of(tmp_path).words() == "0123456789ab; mode score, answered by vLLM"
