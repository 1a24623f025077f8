"""Tables that are larger than the memory: read in parts, they hold what they hold read whole."""

import csv
from pathlib import Path
from typing import Any

import pytest

from hsd.data import read_rows, table_parts
from hsd.data.delimited import table_rows
from hsd.data.table_parts import stream_table
from hsd.errors import DataError

QUOTED = ["text,n\n", *(f'"post {n}, the {n}th",{n}\n' for n in range(50))]
LINES = ["text,n\n", *(f'"first\nand ""second"" line of {n}",{n}\n' for n in range(50))]
RAW = ["text\tn\n", *(f'he said "yes\t{n}\n' for n in range(50))]
EXCEL = ["sep=;\n", '"a\ntext";n\n', *(f'"post; {n}";{n}\n' for n in range(50))]
BAD = ["text,n\n", *(f"post {n},{n}\n" if n % 7 else "short\n" for n in range(50))]


def physical(lines: list[str]) -> list[str]:
    return "".join(lines).splitlines(keepends=True)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_parts, "PART", 100)
    monkeypatch.setattr(table_parts, "MORE_LINES", 2)


@pytest.mark.parametrize("lines", [QUOTED, LINES, RAW, EXCEL, BAD])
def test_rows_and_their_lines_are_those_of_the_table_read_whole(lines: list[str]) -> None:
    path = Path("posts.csv")
    whole = list(table_rows(path, "".join(lines), ","))
    assert list(stream_table(path, physical(lines), ",")) == whole
    assert len(whole) == 50


def test_only_some_lines_are_read_ahead_of_a_row() -> None:
    read: list[str] = []

    def reading() -> Any:
        for line in physical(QUOTED):
            read.append(line)
            yield line

    next(stream_table(Path("posts.csv"), reading(), ","))
    assert len(read) < 10


def test_a_quote_that_never_closes_is_refused_with_its_line_in_the_file() -> None:
    lines = [*QUOTED, '"open,1\n', *(f"post {n},{n}\n" for n in range(200))]
    with pytest.raises(DataError, match=r"posts\.csv:52: "):
        list(stream_table(Path("posts.csv"), physical(lines), ","))


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DataError, match="the file is empty"):
        list(stream_table(Path("posts.csv"), [], ","))


def test_a_large_file_is_read_in_parts_and_a_small_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "posts.csv"
    path.write_text("".join(LINES))
    small = read_rows.read_rows(path)
    monkeypatch.setattr(read_rows, "table_rows", lambda *_: pytest.fail("it was read whole"))
    monkeypatch.setattr(table_parts, "LARGE_BYTES", 1000)
    assert read_rows.read_rows(path) == small


@pytest.mark.parametrize("doubtful", ['say \\"no\\"', "two\\\nlines", "a\\,b"])
def test_a_large_table_whose_quoting_hangs_on_all_of_it_is_read_whole(
    doubtful: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it may tell another way of quoting than the next, and cut posts without a word."""
    monkeypatch.setattr(table_parts, "LARGE_BYTES", 1000)
    monkeypatch.setattr(table_parts, "PART", 100)
    plain = Path("plain.csv")
    plain.write_text("id,text,label\n" + "".join(f"{n},a post,hate\n" for n in range(200)))
    assert table_parts.is_streamed(plain)
    escaped = Path("escaped.csv")
    escaped.write_text(plain.read_text() + f"200,{doubtful},hate\n")
    assert not table_parts.is_streamed(escaped)


def test_a_large_table_with_tabs_and_quotes_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_parts, "LARGE_BYTES", 1000)
    monkeypatch.setattr(table_parts, "PART", 100)
    posts = [f'a "post" of {n} words' if n % 3 else f"two\nlines {n}" for n in range(120)]
    path = Path("posts.tsv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([("id", "text"), *enumerate(posts)])
    rows, bad = read_rows.read_rows(path)
    assert ([row.values["text"] for row in rows], bad) == (posts, [])


def test_a_large_table_in_another_encoding_is_read_as_a_small_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path("western.csv")
    path.write_bytes(b"text,label\n" + "café,hate\n".encode("cp1252") * 200)
    small = read_rows.read_rows(path)
    monkeypatch.setattr(table_parts, "LARGE_BYTES", 1000)
    assert [row.values for row in read_rows.read_rows(path)[0]] == [r.values for r in small[0]]
