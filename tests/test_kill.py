"""What `make kill-test` compares: folders, file by file, without what tells of times."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.kill.state import differences, state


def folder(path: Path, time: str = "20260101_000000", seconds: float = 1.5) -> Path:
    """Write what two undisturbed evaluations have alike, but for their times."""
    run = path / f"run_{time}"
    run.mkdir(parents=True)
    rows = [{"id": name, "label": "hate", "response_time": seconds} for name in ("a", "b")]
    (run / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "manifest.json").write_text(json.dumps({"starts": [time]}))
    (run / "report.json").write_text(json.dumps({"overall": {"f1": 0.5}, "about": {"date": time}}))
    (run / "weights.safetensors").write_bytes(b"\x00\x01")
    return run


def test_two_runs_that_differ_in_their_times_alone_are_equal(tmp_path: Path) -> None:
    folder(tmp_path / "one")
    folder(tmp_path / "two", "20260202_111111", 9.9)
    assert differences(state(tmp_path / "one"), state(tmp_path / "two")) == []


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda run: (run / "manifest.json").unlink(), "missing: run_TIME/manifest.json"),
        (lambda run: (run / ".x.tmp").write_text("x"), "left over: run_TIME/.x.tmp"),
        (
            lambda run: (run / "weights.safetensors").write_bytes(b"\x00\x03"),
            "differs: run_TIME/weights.safetensors",
        ),
        (
            lambda run: (run / "predictions.jsonl").write_text('{"id": "a", "label": "hate"}\n'),
            "differs: run_TIME/predictions.jsonl",
        ),
        (
            lambda run: (run / "report.json").write_text('{"overall": {"f1": 0.6}, "about": {}}'),
            "differs: run_TIME/report.json",
        ),
    ],
)
def test_a_file_that_is_missing_left_over_or_another_is_named(
    spoil: Callable[[Path], object], line: str, tmp_path: Path
) -> None:
    folder(tmp_path / "one")
    spoil(folder(tmp_path / "two"))
    assert differences(state(tmp_path / "one"), state(tmp_path / "two")) == [line]


def test_rows_in_another_order_are_the_same_rows(tmp_path: Path) -> None:
    folder(tmp_path / "one")
    file = folder(tmp_path / "two") / "predictions.jsonl"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    assert differences(state(tmp_path / "one"), state(tmp_path / "two")) == []
