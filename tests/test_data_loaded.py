"""Every row ends as an example, a bad row or a row left out on purpose."""

import json
from pathlib import Path

import pytest

from hsd.data.loaded_file import (
    Bad,
    Converted,
    LeftOut,
    Loaded,
    by_reason,
    convert_rows,
    listed,
    load,
    merge_loaded,
    require_clean,
    require_unique_ids,
    write_bad_rows,
)
from hsd.data.read_rows import BadRow, Row
from hsd.errors import DataError
from hsd.example import Example


def by_first_letter(row: Row) -> Converted:
    text = row.values["text"]
    if text.startswith("b"):
        return Bad("starts with b")
    if text.startswith("l"):
        return LeftOut("starts with l")
    return Example(id=row.values.get("id", ""), text=text, label="normal")


def loaded(*texts: str) -> Loaded:
    return convert_rows(
        [Row({"text": t}, f"f:{n}") for n, t in enumerate(texts, 1)], by_first_letter
    )


def test_no_row_is_lost() -> None:
    result = loaded("good", "bad", "late", "fine", "low")
    assert [e.text for e in result.examples] == ["good", "fine"]
    assert result.bad == [BadRow("f:2", "starts with b")]
    assert result.reasons() == {"starts with l": 2}
    assert result.rows == 5


def test_lines_that_are_no_rows_count_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\nnonsense\n{"text": "bad"}\n')
    result = load(path, by_first_letter)
    assert [row.place for row in result.bad] == [f"{path}:2", f"{path}:3"]


def test_an_example_knows_its_place() -> None:
    assert loaded("good").examples[0].place == "f:1"


def test_a_missing_id_comes_from_content_and_position_and_is_stable() -> None:
    once, again = loaded("good", "good"), loaded("good", "good")
    assert [e.id for e in once.examples] == [e.id for e in again.examples]
    assert once.examples[0].id.startswith("row-00000-")
    assert once.examples[0].id != once.examples[1].id


def test_one_bad_row_more_than_tolerated_is_an_error_that_counts_each_reason() -> None:
    rows = loaded(*["bad"] * 7, "good")
    assert require_clean(rows, tolerate=7) == rows.examples
    with pytest.raises(DataError) as error:
        require_clean(rows, tolerate=6)
    assert str(error.value) == (
        "7 of 8 rows cannot be used: 7 rows (f:1, f:2, f:3, ...): starts with b."
    )


def test_reasons_are_listed_once_the_most_frequent_first() -> None:
    bad = [BadRow(f"f:{n}", reason) for n, reason in enumerate("xyyxyzuvw", start=1)]
    assert by_reason(bad)[:3] == ["3 rows (f:2, f:3, f:5): y", "2 rows (f:1, f:4): x", "f:6: z"]
    assert listed(bad).endswith("f:6: z; f:7: u; f:8: v; and 1 other reason")


def test_nothing_left_is_an_error_that_says_why() -> None:
    with pytest.raises(DataError, match="no row is left of 2: 2 starts with l"):
        require_clean(loaded("late", "low"))


def test_an_id_twice_names_both_places() -> None:
    rows = [Row({"text": "a", "id": "x"}, "one:1"), Row({"text": "c", "id": "x"}, "two:9")]
    with pytest.raises(DataError, match=r"two:9: id 'x' is also at one:1"):
        require_unique_ids(convert_rows(rows, by_first_letter).examples)


def test_merged_files_keep_all_kinds_of_rows() -> None:
    whole = merge_loaded([loaded("good", "bad"), loaded("late")])
    assert (len(whole.examples), len(whole.bad), len(whole.left_out)) == (1, 1, 1)


def test_bad_rows_are_written_without_their_text(tmp_path: Path) -> None:
    write_bad_rows(tmp_path / "bad_rows.jsonl", loaded("bad apple").bad)
    row = json.loads((tmp_path / "bad_rows.jsonl").read_text())
    assert row == {"place": "f:1", "reason": "starts with b"}
