"""Rows that nobody writes by hand: each is a bad row of its own, and the others are read."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from hsd.data.loaded_file import example_of
from hsd.data.read_rows import BadRow, read_rows
from hsd.data.unified import convert
from hsd.errors import DataError

GOOD = '{"id": "a", "text": "a day", "label": "normal"}'
DEEP = '{"z": ' + "[" * 100_000 + "]" * 100_000 + "}"
LONG = '{"id": ' + "9" * 5000 + ', "text": "x", "label": "hate"}'
TWICE = '{"id": "b", "text": "x", "label": "hate", "label": "normal"}'
NESTED = '{"messages": [{"role": "user", "content": "]}\\"", "role": "assistant"}]}'
REASONS = [
    (DEEP, "is nested too deep to be read"),
    (LONG, "holds a number of more than 4,300 digits"),
    (TWICE, "key 'label' is written twice"),
    (NESTED, "key 'role' is written twice"),
]


@pytest.mark.parametrize(("row", "reason"), REASONS, ids=["deep", "long", "twice", "nested"])
@pytest.mark.parametrize(
    ("name", "form", "line"),
    [
        ("rows.jsonl", "{good}\n{row}\n{good}\n", 2),
        ("rows.jsonl", "{row}\n{good}\n{good}\n", 1),
        ("lines.json", "{row}\n{good}\n{good}\n", 1),
        ("rows.json", "[\n{good},\n{row},\n{good}\n]", 3),
        ("keyed.json", '{{"p": {good},\n"q": {row},\n"r": {good}}}', 2),
        ("in_a_row.json", "{good}\n\n{row}\n{good}", 3),
    ],
)
def test_a_row_that_cannot_be_read_is_a_bad_row_and_no_other(
    row: str, reason: str, name: str, form: str, line: int
) -> None:
    file = Path(name)
    file.write_text(form.format(good=GOOD, row=row), encoding="utf-8")
    rows, bad = read_rows(file)
    assert [dict(r.values)["text"] for r in rows] == ["a day", "a day"]
    assert bad == [BadRow(f"{name}:{line}", reason)]


def test_a_row_about_thousands_of_groups_is_a_bad_row() -> None:
    many = {"text": "x", "label": "hate", "target_group": "gay|" * 5000}
    listed = {"text": "x", "label": "hate", "target_group": ["gay"] * 600}
    tagged = {"text": "x", "label": "hate", "persona_tag": "gay|" * 5000}
    file = Path("rows.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in (many, listed, tagged)))
    rows, _ = read_rows(file)
    for row in rows:
        assert "expected at most 10,000 in 500" in str(example_of(convert, row))


@pytest.mark.parametrize("at", range(4, 200, 7))
def test_a_damaged_parquet_file_is_one_line_or_still_read(at: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"id": ["a", "b"], "text": ["x", "y"], "label": ["hate", "normal"]})
    parquet.write_table(table, "rows.parquet")
    content = bytearray(Path("rows.parquet").read_bytes())
    content[-at] ^= 0xFF
    Path("rows.parquet").write_bytes(content)
    with suppress(DataError):  # anything else is a traceback
        rows, bad = read_rows(Path("rows.parquet"))
        assert len(rows) + len(bad) == 2


def test_a_message_about_a_path_lists_nothing_that_lies_beside_it(tmp_path: Path) -> None:
    from hsd.data.data_files import require_data
    from hsd.data.data_sets import resolve_path
    from hsd.data.unified import find_splits
    from hsd.errors import HsdError
    from hsd.io.files import require_folder
    from hsd.report.predictions import find_evaluation

    for name in ("private-notes", "passwords.txt"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine.jsonl").write_text(GOOD)
    missing = tmp_path / "adaptor"
    looks = (
        require_data, find_evaluation, find_splits, lambda p: require_folder(p, "x"),
        lambda p: resolve_path(str(p)),
    )  # fmt: skip
    for look in looks:
        with pytest.raises(HsdError) as caught:
            look(missing)
        assert "private" not in str(caught.value)
        assert "passwords" not in str(caught.value)
    (tmp_path / "adapter").mkdir()
    with pytest.raises(HsdError, match="Did you mean 'adapter'"):
        require_folder(missing, "x")
