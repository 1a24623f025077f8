"""Files become rows that know their line; a doubtful file is refused, a bad line is reported."""

import json
from pathlib import Path

import pandas
import pytest

from hsd.data.cell_values import post
from hsd.data.chat_rows import stream_chats
from hsd.data.loaded_file import Bad
from hsd.data.read_rows import read_rows, stream_rows
from hsd.errors import DataError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def places(path: Path) -> list[tuple[str, object]]:
    rows, bad = read_rows(path)
    assert not bad
    return [(row.place.removeprefix(f"{path}:"), row.values["text"]) for row in rows]


def test_json_lines_know_their_line_across_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": "one"}\n\n{"text": "two"}\n')
    assert places(path) == [("1", "one"), ("3", "two")]


def test_json_lines_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", b'{"text": "one"}\n{"text": "caf\xe9"}\n')
    rows = stream_rows(path)
    assert next(rows).place == f"{path}:1"
    with pytest.raises(DataError, match="a.jsonl:2: not UTF-8"):
        next(rows)


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": "one\u2028still\x85one"}\r\n{"text": "two"}\r\n')
    assert places(path) == [("1", "one\u2028still\x85one"), ("2", "two")]


def test_items_of_a_json_list_know_the_line_they_start_at(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", '[\n {"text": "one",\n  "n": 1},\n {"text": "two"}\n]\n')
    assert places(path) == [("2", "one"), ("4", "two")]


def test_an_object_of_rows_by_id_gives_rows_with_ids(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", '{"p1": {"text": "one"},\n "p2": {"text": "two"}}')
    rows, _ = read_rows(path)
    assert [(row.values["id"], row.values["text"]) for row in rows] == [
        ("p1", "one"),
        ("p2", "two"),
    ]
    assert rows[1].place == f"{path}:2"


@pytest.mark.parametrize("content", ['{"text": "one"}', '{"text": "one"}\n{"text": "two"}\n'])
def test_one_row_a_line_is_read_in_a_json_file_too(tmp_path: Path, content: str) -> None:
    assert places(written(tmp_path, "a.json", content))[0] == ("1", "one")


def test_csv_rows_know_the_line_they_start_at(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,label\n"two\nlines",hate\nnext,normal\n')
    assert places(path) == [("2", "two\nlines"), ("4", "next")]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert places(written(tmp_path, "a.csv", b"\xef\xbb\xbftext,label\none,hate\n"))


def test_a_cell_longer_than_the_csv_module_allows_is_read(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert places(written(tmp_path, "a.csv", f"text,label\n{long},hate\n")) == [("2", long)]


def test_parquet_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pandas.DataFrame({"text": ["one", "two"]}).to_parquet(path)
    assert places(path) == [("1", "one"), ("2", "two")]


BAD_LINES = {
    "a.jsonl": (
        '{"text": "one"}\n{"text" "two"}\n[1]\n',
        ["2: not JSON", "3: a row is a JSON obj"],
    ),
    "half.jsonl": (
        '{"text": "one"}\n{"text": "tw\n{"text": "three",\n{"text": "four"}\n',
        ["2: the line is cut off", "3: the line is cut off"],
    ),
    "a.json": ('[{"text": "one"},\n "two"]', ["2: a row is a JSON object, this is a string"]),
    "deep.jsonl": (
        '{"text": "one"}\n{"z": ' + "[" * 60_000 + "]" * 60_000 + "}\n",
        ["2: is nested too deep to be read"],
    ),
    "long.jsonl": (
        '{"text": "one"}\n{"id": ' + "9" * 5_000 + "}\n",
        ["2: holds a number of more than 4,300 digits"],
    ),
    "a.csv": ("text,label\none\n", ["2: 1 cell, but the header has 2 columns"]),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_that_is_no_row_is_reported_with_its_place(tmp_path: Path, name: str) -> None:
    content, expected = BAD_LINES[name]
    path = written(tmp_path, name, content)
    _, bad = read_rows(path)
    said = [f"{row.place}: {row.reason}".removeprefix(f"{path}:") for row in bad]
    assert len(said) == len(expected)
    assert all(line.startswith(start) for line, start in zip(said, expected, strict=True))


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "empty.jsonl": ("", ":1: the file is empty"),
    "blank.csv": ("\n \n", ":1: the file is empty"),
    "latin.jsonl": (b'{"text": "one"}\n{"text": "caf\xe9"}\n', ":2: not UTF-8 (byte 0xe9)"),
    "russian.csv": (b"text,label\n\xef\xf0\xe8\xe2,hate\n", ":2: not UTF-8 (byte 0xef)"),
    "torn.csv": ("text,label\ncafé,hate\n".encode() + b"\xe9,hate\n", ":3: not UTF-8 (byte 0xe9)"),
    "cut.jsonl": ('{"text": "one"}\n{"text": "tw', ":2: the file ends in the middle of a row"),
    "cut.json": ('[{"text": "one"},\n {"text": "tw', ":2: the file ends in the middle of a row"),
    "deep.json": ('[{"text": "one"},\n' + "[" * 60_000, ":2: the file ends in the middle"),
    "open.json": ('[{"text": "one"}\n', ":2: the file ends in the middle of a row"),
    "cut.csv": ('text,label\n"half a te', ":2: not CSV"),
    "bare.csv": ("it was a fine day,1\n", ":1: the first line is no header"),
    "quote.csv": ('"text,label\n', ":1: not CSV"),
    "late.csv": ("\ntext,label\na,hate\n", ":1: the first line is no header"),
    "twice.csv": ("text,text\na,b\n", ":1: the first line is no header"),
    "flat.json": ('{"name": "x",\n "rows": []}', ":1: expected a list of rows"),
    "no.parquet": ("PAR0", ": not Parquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_doubtful_file_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    path = written(tmp_path, name, content)
    with pytest.raises(DataError) as error:
        read_rows(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_an_absent_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "train.jsonl", "{}")
    with pytest.raises(DataError, match=r"no such file. Did you mean 'train.jsonl'\?"):
        read_rows(tmp_path / "trian.jsonl")


HALF, WHOLE = '{"text": "a \\ud83e b"}', '{"text": "a \\ud83e\\udd50 b"}'


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", f"{WHOLE}\n{HALF}\n", 2),
        ("a.jsonl", f'{WHOLE}\n\n{{"text": "b", "id": "\\uDD50"}}\n', 3),
        ("a.jsonl", f'{{"messages": [{{"role": "user", "content": "\\ud800"}}]}}\n{WHOLE}\n', 1),
        ("a.json", f"[\n{WHOLE},\n{HALF}]", 3),
        ("a.json", f'{{"p1": {WHOLE},\n"p2": {HALF}}}', 2),
    ],
)
def test_half_a_character_makes_a_bad_row_and_a_whole_one_does_not(
    name: str, content: str, line: int, tmp_path: Path
) -> None:
    path = written(tmp_path, name, content)
    rows, bad = read_rows(path)
    assert [row.values["text"] for row in rows] == ["a 🥐 b"]
    assert [row.place for row in bad] == [f"{path}:{line}"]
    assert bad[0].reason.startswith("holds half a character")
    assert "\ud83e" not in bad[0].reason


def test_half_a_character_in_a_chat_is_refused_with_its_line(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "a \ud800 b"},
        {"role": "assistant", "content": '{"classification": "hate"}'},
    ]
    path = written(tmp_path, "chats.jsonl", json.dumps({"messages": turns}) + "\n")
    with pytest.raises(DataError, match="chats.jsonl:1: holds half a character"):
        list(stream_chats(path))


def test_half_a_character_in_a_post_is_refused_where_no_file_was_read() -> None:
    assert isinstance(post({"text": "a \udd50 b"}, "text"), Bad)
    assert post({"text": "a 🥐 b"}, "text") == "a 🥐 b"
