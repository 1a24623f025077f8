import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from posts import predictions

from hsd.errors import EvaluationError
from hsd.io.files import write_json
from hsd.prediction import Prediction
from hsd.report.predictions import append_predictions, find_evaluation, load_run, read_predictions

ROWS = predictions("lgbtq+mexican h h .9\n- n refusal .2\nlgbtq n n .1")


def file_with(rows: list[Prediction], tmp_path: Path) -> Path:
    path = tmp_path / "run" / "predictions.jsonl"
    append_predictions(path, rows)
    return path


def test_what_was_appended_is_read_back_equal(tmp_path: Path) -> None:
    odd = replace(ROWS[0], id="odd", text='line\nbreak \u2028 "quote" émoji 🙂', reply="{'a'")
    path = file_with(ROWS[:2], tmp_path)
    append_predictions(path, [ROWS[2], odd])
    assert read_predictions(path) == [*ROWS, odd]


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_predictions(tmp_path / "predictions.jsonl") == []


@pytest.mark.parametrize("lost", [1, 2, 40])
def test_a_half_written_last_line_is_dropped_and_its_row_can_be_added_again(
    tmp_path: Path, lost: int
) -> None:
    # Losing only the newline (1) leaves a whole JSON object; it still counts as not written.
    path = file_with(ROWS, tmp_path)
    path.write_bytes(path.read_bytes()[:-lost])
    assert read_predictions(path) == ROWS[:2]
    append_predictions(path, [ROWS[2]])
    assert read_predictions(path) == ROWS


def test_a_file_that_is_one_half_written_line_has_no_rows(tmp_path: Path) -> None:
    path = file_with([], tmp_path)
    path.write_text('{"id": "p0')
    assert read_predictions(path) == []
    append_predictions(path, ROWS)
    assert read_predictions(path) == ROWS


def test_appending_nothing_changes_nothing(tmp_path: Path) -> None:
    path = file_with(ROWS, tmp_path)
    before = path.read_bytes()
    append_predictions(path, [])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"true_label": "rude"}, "true_label"),
        ({"outcome": "fine"}, "outcome"),
        ({"label": None}, "outcome 'valid' with label None"),
        ({"outcome": "refusal"}, "outcome 'refusal' with label 'hate'"),
        ({"id": None}, "id"),
        ({"score": 1.5}, "score 1.5; expected a number from 0 to 1"),
        ({"score": -0.1}, "score -0.1; expected"),
        ({"hate_share": 7}, "hate_share 7; expected"),
    ],
)
def test_a_row_that_is_no_prediction_is_named_with_its_line(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    path = file_with(ROWS, tmp_path)
    first, *rest = path.read_text().splitlines()
    broken = json.dumps(json.loads(first) | change)
    path.write_text("\n".join([rest[0], broken, rest[1], ""]))
    with pytest.raises(EvaluationError) as refused:
        read_predictions(path)
    assert f"{path}:2: " in str(refused.value)
    assert says in str(refused.value)


def test_a_broken_line_in_the_middle_is_no_half_written_one(tmp_path: Path) -> None:
    path = file_with(ROWS, tmp_path)
    path.write_text("{not json\n" + path.read_text())
    with pytest.raises(EvaluationError, match=r"predictions\.jsonl:1: not a prediction"):
        read_predictions(path)


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    path = file_with(ROWS, tmp_path)
    append_predictions(path, ROWS[:1])
    with pytest.raises(EvaluationError, match=r"jsonl:4: id 'p000' was there before"):
        read_predictions(path)


def test_a_run_is_found_in_its_folder_or_in_the_one_above(tmp_path: Path) -> None:
    inner = tmp_path / "base" / "run_20260102_030405"
    append_predictions(inner / "predictions.jsonl", ROWS)
    write_json(inner / "manifest.json", {"seed": 42})
    assert find_evaluation(inner) == find_evaluation(tmp_path / "base") == inner
    run = load_run(tmp_path / "base")
    assert (run.predictions, run.manifest) == (ROWS, {"seed": 42})


def test_no_run_two_runs_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(EvaluationError, match="no predictions.jsonl here or in a run_"):
        load_run(tmp_path / "base")
    with pytest.raises(EvaluationError, match="no such run folder. Did you mean 'base'"):
        load_run(tmp_path / "bas")
    for name in ("run_1", "run_2"):
        append_predictions(tmp_path / "base" / name / "predictions.jsonl", [])
    with pytest.raises(EvaluationError, match="holds 2 evaluations; name one of run_1, run_2"):
        load_run(tmp_path / "base")
    with pytest.raises(EvaluationError, match="no predictions; finish the evaluation"):
        load_run(tmp_path / "base" / "run_1")
