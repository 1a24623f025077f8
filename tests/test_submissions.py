"""submissions.jsonl and the events of attempts: what survives, and what counts."""

from pathlib import Path

from slurm.node.events import attempts, record
from slurm.run.submissions import (
    Submitted,
    append_submission,
    newest,
    read_submissions,
    submission_lines,
)


def submitted(number: int, stage: str, job_id: str, *cells: str) -> Submitted:
    at = "2026-01-01T00:00:00+00:00"
    return Submitted(
        number, stage, stage, job_id, cells, at, 1, 60, name=f"hsd-x-{stage}", comment="hsd-1"
    )


def test_a_line_reads_back_as_it_was(tmp_path: Path) -> None:
    one = submitted(1, "train", "7", "a", "b")
    append_submission(tmp_path, one)
    assert read_submissions(tmp_path) == [one]
    assert "released" not in submission_lines(tmp_path)[0]


def test_a_line_of_an_older_hsd_has_the_name_that_its_job_had(tmp_path: Path) -> None:
    line = {"number": 1, "stage": "train", "kind": "train", "job_id": "7", "cells": ["a"]}
    append_submission(tmp_path / "x", line | {"at": "2026", "gpus": 1, "time_min": 60})
    assert [(one.name, one.comment) for one in read_submissions(tmp_path / "x")] == [
        ("hsd-x-train", "")
    ]
    (tmp_path / "x" / "run.json").write_text('{"name": "before"}')  # the folder was renamed
    assert read_submissions(tmp_path / "x")[0].name == "hsd-before-train"


def test_a_released_submission_is_so_in_all_its_jobs(tmp_path: Path) -> None:
    append_submission(tmp_path, submitted(1, "train", "7", "a"))
    append_submission(tmp_path, submitted(2, "train", "8", "a"))
    append_submission(tmp_path, {"released": 1, "at": "now"})
    assert [one.released for one in read_submissions(tmp_path)] == [True, False]


def test_what_was_rolled_back_is_not_there(tmp_path: Path) -> None:
    append_submission(tmp_path, submitted(1, "train", "7", "a"))
    append_submission(tmp_path, submitted(2, "train", "8", "a"))
    append_submission(tmp_path, {"cancelled": "8", "at": "now"})
    assert newest(read_submissions(tmp_path))["train", "a"][0].job_id == "7"


def test_the_newest_line_that_names_a_cell_in_a_stage_counts(tmp_path: Path) -> None:
    append_submission(tmp_path, submitted(1, "train", "7", "a", "b"))
    append_submission(tmp_path, submitted(2, "train", "8", "b"))
    found = newest(read_submissions(tmp_path))
    ids = {cell: one.element_id(index) for (_, cell), (one, index) in found.items()}
    assert ids == {"a": "7_0", "b": "8_0"}


def test_a_run_without_submissions_has_none(tmp_path: Path) -> None:
    assert read_submissions(tmp_path / "missing") == []


def test_a_torn_line_is_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "attempts" / "train.jsonl"
    record(file, "started", job="7_0")
    with file.open("a") as torn:
        torn.write('{"at": "2026", "event": "en')
    assert [event["event"] for event in attempts(file)] == ["started"]
    record(file, "ended", job="7_0", code=0)
    assert [event["event"] for event in attempts(file)] == ["started", "ended"]
    assert attempts(file)[1]["code"] == 0
    assert attempts(file)[1]["at"].endswith("+00:00")
