"""The benchmark's own arithmetic: order, ratios, table and resuming. Nothing is timed."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import ONE_BY_ONE, SHARE, Case, Sizes, Task, cases, tasks
from benchmarks.ledger import Ledger, LedgerError
from benchmarks.posts import real, synthetic
from benchmarks.ratios import agreement, growth, loss_difference, speedup, spread
from benchmarks.table import render
from hsd.errors import DataError

STEP = "train/330/synthetic/16"
ASKED = "evaluate/330/synthetic/64"
ABOUT = {
    "command": "python -m benchmarks",
    "date": "2026-01-01",
    "processor": "a processor, 2 cores",
    "threads": 1,
    "model": "a model",
    "versions": {"torch": "1.0"},
}


def record(case: str, contender: str, round: int, cpu_s: float, **more: Any) -> dict[str, Any]:
    return {
        "key": f"{case}/{contender}/{round}", "case": case, "contender": contender, "round": round,
        "rows": 16, "prefix": 330, "shortest": 20, "longest": 24, "cpu_s": cpu_s, "wall_s": cpu_s,
        "peak_mib": 1000.0, "extra_mib": 100.0, **more,
    }  # fmt: skip


TRAINED = [
    record(STEP, "hsd", 0, 2.0, loss=1.0, gradient_error=1e-6),
    record(STEP, "trl_defaults", 0, 12.0, loss=1.0001),
    record(STEP, "hsd", 1, 4.0, loss=1.0, gradient_error=3e-6),
    record(STEP, "trl_defaults", 1, 32.0, loss=1.0001),
]


def test_contenders_take_turns_and_every_measurement_comes_once() -> None:
    found = tasks(cases(["train", "rows"], Sizes(rounds=2), real=True))
    keys = [task.key for task in found]
    assert len(keys) == len(set(keys))
    main = [task for task in found if task.case.name == STEP and task.contender != ONE_BY_ONE]
    assert [t.round for t in main] == [0] * 5 + [1] * 5
    assert [t.contender for t in main[:5]] == [t.contender for t in main[5:]]


def test_the_reference_gradient_is_there_before_anyone_is_compared_with_it() -> None:
    found = [t for t in tasks(cases(["train"], Sizes(), real=True)) if t.case.name == STEP]
    assert found[0].contender == ONE_BY_ONE
    assert sum(task.contender == ONE_BY_ONE for task in found) == 1


def test_without_real_posts_only_invented_ones_are_measured() -> None:
    parts = ["train", "evaluate", "prefix", "rows"]
    assert {case.posts for case in cases(parts, Sizes(), real=False)} == {"synthetic"}
    assert {case.posts for case in cases(parts, Sizes(), real=True)} == {"synthetic", "real"}


def test_the_rounds_of_a_contender_that_takes_a_share_cover_all_rows() -> None:
    case = Case("evaluate", 330, "synthetic", 64, ("pipeline", "hsd_score"), SHARE)
    rows = list(range(64))
    shares = [rows[Task(case, "pipeline", n).rows(64)] for n in range(SHARE)]
    assert [len(share) for share in shares] == [16] * SHARE
    assert sorted(sum(shares, [])) == rows
    assert rows[Task(case, "hsd_score", 0).rows(64)] == rows


def test_a_ratio_is_taken_within_a_round_and_shown_with_its_ends() -> None:
    found = speedup(TRAINED, STEP, "trl_defaults", "hsd")
    assert str(found) == "7.00 (6.00–8.00)"
    assert speedup(TRAINED[:3], STEP, "trl_defaults", "hsd") == spread([6.0])
    assert speedup(TRAINED, STEP, "trl_best", "hsd") is None


def test_a_ratio_is_per_row_when_contenders_took_different_numbers_of_them() -> None:
    records = [
        record(ASKED, "hsd_generate", 0, 8.0, rows=64),
        record(ASKED, "pipeline", 0, 16.0, rows=16),
    ]
    assert speedup(records, ASKED, "pipeline", "hsd_generate") == spread([8.0])


def test_growth_compares_the_larger_case_with_the_smaller_one() -> None:
    twice = "train/330/synthetic/32"
    records = [*TRAINED, record(twice, "hsd", 0, 3.0), record(twice, "hsd", 1, 8.0)]
    assert growth(records, STEP, twice, "hsd", "cpu_s") == spread([1.5, 2.0])


def test_losses_are_compared_over_all_contenders() -> None:
    assert loss_difference(TRAINED, STEP) == pytest.approx(1e-4)
    assert loss_difference(TRAINED[:1], STEP) is None


def test_agreement_counts_only_rows_that_both_answered() -> None:
    records = [
        record(ASKED, "hsd_score", 0, 1.0, labels={"a": "hate", "b": "normal", "c": "hate"}),
        record(ASKED, "lm_eval_choice", 0, 1.0, labels={"a": "hate"}),
        record(ASKED, "lm_eval_choice", 1, 1.0, labels={"b": "hate"}),
    ]
    assert agreement(records, ASKED, "labels", "lm_eval_choice", "hsd_score") == 0.5
    assert agreement(records, ASKED, "labels", "pipeline", "hsd_score") is None


def test_the_table_says_what_was_measured_and_leaves_out_what_was_not() -> None:
    text = render(TRAINED, ABOUT)
    assert "one optimiser step of 16 rows, 330 shared tokens, synthetic posts of 20–24" in text
    assert "| TRL SFTTrainer, defaults | 22 | 7.00 (6.00–8.00) | 1000 | 100 | — |" in text
    assert "| hsd | 3 | 1.00 (1.00–1.00) | 1000 | 100 | 3.0e-06 |" in text
    assert "TRL, best CPU settings" not in text
    assert "Whole commands" not in text


def test_the_table_shows_what_twice_the_rows_and_whole_commands_cost() -> None:
    records = [
        *TRAINED[::2],
        record("train/330/synthetic/32", "hsd", 0, 4.0),
        record("process", "hsd_train", 0, 100.0),
        record("process", "trl_script", 0, 500.0),
    ]
    text = render(records, ABOUT)
    assert "| hsd (train) | 16 → 32 | 2.00 | 1.00 | 1.00 |" in text
    assert "| plain TRL script | 500 | 500 | 1000 | 5.00 |" in text


def test_a_stopped_run_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "bench.jsonl"
    first = Ledger(file, {"threads": 1})
    first.add(record(STEP, "hsd", 0, 2.0))
    with file.open("a") as cut_off:
        cut_off.write('{"key": "train/330/synthe')
    again = Ledger(file, {"threads": 1})
    assert f"{STEP}/hsd/0" in again
    assert f"{STEP}/hsd/1" not in again
    again.add(record(STEP, "hsd", 1, 3.0))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line.get("cpu_s") for line in lines] == [None, 2.0, 3.0]


def test_measurements_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    Ledger(tmp_path / "bench.jsonl", {"threads": 1, "model": "a"})
    with pytest.raises(LedgerError, match="other threads;"):
        Ledger(tmp_path / "bench.jsonl", {"threads": 2, "model": "a"})


def test_invented_posts_are_all_different_and_half_of_each_label() -> None:
    posts = synthetic(512)
    assert len({post.text for post in posts}) == 512
    assert sum(post.label == "hate" for post in posts) == 256


def test_missing_real_posts_are_an_error_that_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        real(16, tmp_path)
