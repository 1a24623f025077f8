"""`python -m benchmarks.gpu`: whatever fails on a first run on a card, the rest is measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.gpu_peak import peak_of
from benchmarks.gpu_table import OFF, ON, WITHOUT, gains, table

CHECKOUT = Path(gpu.__file__).resolve().parents[1]


def test_all_parts_together_take_less_than_nine_minutes() -> None:
    assert sum(gpu.BUDGETS_S.values()) < 9 * 60


def test_older_libraries_are_refused_with_what_is_needed() -> None:
    assert gpu.too_old({"torch": "2.11.0+cu128", "transformers": "5.17.0"}) is None
    assert gpu.too_old({"torch": "2.9.1", "transformers": "5.23.0"}) == (
        "benchmarks.gpu needs torch 2.11 or newer (here: 2.9.1)."
    )


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.0),
        ("a card that nobody knows", None),
    ],
)
def test_the_peak_of_a_gpu_is_found_by_its_name(name: str, peak: float | None) -> None:
    assert peak_of(name) == peak


TIMED: list[dict[str, Any]] = [
    {"part": "llama train", "variant": OFF, "seconds_per_step": 6.0},
    {"part": "llama train", "variant": ON, "seconds_per_step": 2.0},
    {"part": "llama train", "variant": WITHOUT, "seconds_per_step": 1.0},
    {"part": "gpt-oss train", "variant": ON, "seconds_per_step": 2.0},
    {"part": "gpt-oss train", "variant": OFF, "error": "OutOfMemoryError: full"},
]


def test_gains_are_ratios_of_steps_that_were_timed() -> None:
    found = [(row["variant"], row["times_as_fast"]) for row in gains(TIMED)]
    assert found == [("gain of sharing", 3.0), ("gain of no checkpointing", 2.0)]


def test_an_error_stands_in_the_table_beside_what_was_measured() -> None:
    shown = table([*TIMED, *gains(TIMED)])
    assert "| OutOfMemoryError: full |" in shown
    assert "llama train, gain of sharing: times_as_fast 3" in shown
    assert "MFU = 2 passes x" in shown


def test_a_part_that_takes_too_long_is_ended_and_is_a_row_with_its_error(tmp_path: Path) -> None:
    rows = [*gpu.part_rows("card", tmp_path, tiny=True, budget_s=0)]
    assert [row["error"] for row in rows] == ["took longer than its 0 s: it printed nothing"]


@pytest.mark.model
def test_a_variant_that_fails_is_a_row_with_its_error() -> None:
    from benchmarks.gpu_training import attempt

    def full() -> dict[str, object]:
        raise MemoryError("all\nfull")

    assert attempt("it", full) == {"variant": "it", "error": "MemoryError: all full"}


@pytest.mark.model
def test_parts_are_those_that_have_a_budget() -> None:
    from benchmarks.gpu_parts import PARTS

    assert list(PARTS) == list(gpu.BUDGETS_S)


@pytest.mark.model
def test_the_shapes_are_those_of_llama_8b_and_gpt_oss_20b() -> None:
    from benchmarks.random_bases import random_bases
    from hsd.model.quantization import skeleton

    sizes = {
        base.name: sum(p.numel() for p in skeleton(base.config).parameters()) / 1e9
        for base in random_bases(tiny=False).values()
    }
    assert sizes["llama-8b"] == pytest.approx(8.03, abs=0.01)
    assert sizes["gpt-oss-20b"] == pytest.approx(20.9, abs=0.1)


@pytest.mark.model
def test_every_part_is_measured_on_a_cpu_with_tiny_shapes(tmp_path: Path) -> None:
    from benchmarks.gpu_parts import PARTS, Asked

    asked = Asked("cpu", True, tmp_path)
    rows = [{"part": name, **row} for name, part in PARTS.items() for row in part(asked)]
    assert not [row for row in rows if "error" in row]
    steps = [row for row in rows if row["part"].endswith(" train")]
    trained = [row for row in steps if "skipped" not in row]
    assert [row["skipped"] for row in steps if "skipped" in row] == [
        "flex attention has no gradient on a CPU"
    ] * 2
    assert len(trained) == 6
    assert all(row["rows_per_s"] > 0 and row["plan_gb"] > 0 for row in trained)
    assert {row["weights"] for row in trained} == {"nf4", "packed"}
    assert {tuple(row["form"]) for row in trained if row["variant"] == OFF} == {("alone",)}
    shown = table([*rows, *gains(rows)])
    assert "| gpt-oss train | sharing on, checkpointing off |" in shown
    assert "gain of sharing" in shown


@pytest.mark.e2e
def test_the_dry_run_prints_and_keeps_rows_of_each_part(tmp_path: Path) -> None:
    work = tmp_path / "gpu"
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--work", str(work)]
    command += ["--parts", "card", "gpt-oss score"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    rows = [json.loads(line) for line in (work / "gpu.jsonl").read_text().splitlines()]
    assert ran.returncode == 0, rows
    assert {row["part"] for row in rows} == {"card", "gpt-oss score"}
    assert "| gpt-oss score | 2 rows at once |" in ran.stdout
