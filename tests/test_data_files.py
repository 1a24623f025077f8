"""A file is what its first bytes say; what is not read is named, with what would work."""

import gzip
import json
import pickle
from pathlib import Path

import pandas
import pytest

from hsd.data import data_files
from hsd.data.data_sets import resolve, resolve_path
from hsd.data.posts import read_posts
from hsd.data.read_rows import read_rows, stream_rows
from hsd.data.source_formats import Source
from hsd.data.unified import find_splits, load_folder
from hsd.errors import DataError

ROWS = [{"text": "soup", "label": "hate"}, {"text": "tea, no", "label": "normal"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = 'text,label\nsoup,hate\n"tea, no",normal\n'
TABLE = pandas.DataFrame(ROWS)


def bytes_of(folder: Path, suffix: str) -> bytes:
    path = folder / f"made{suffix}"
    if suffix == ".parquet":
        TABLE.to_parquet(path)
    else:
        TABLE.to_feather(path)
    return path.read_bytes()


def content(folder: Path, suffix: str) -> bytes:
    written = {
        ".jsonl": LINES,
        ".ndjson": LINES,
        ".json": json.dumps(ROWS),
        ".csv": CSV,
        ".tsv": TABLE.to_csv(index=False, sep="\t"),
        ".tab": TABLE.to_csv(index=False, sep="\t"),
    }
    return written[suffix].encode() if suffix in written else bytes_of(folder, suffix)


@pytest.mark.parametrize("suffix", data_files.FORMATS)
def test_each_format_is_read_in_any_case_and_packed(tmp_path: Path, suffix: str) -> None:
    data = content(tmp_path, suffix)
    for name, whole in {
        f"a{suffix}": data,
        f"a{suffix.upper()}": data,
        f"b{suffix}.gz": gzip.compress(data),
        f"C{suffix.upper()}.GZ": gzip.compress(data),
        f"packed{suffix}": gzip.compress(data),
        f"unpacked{suffix}.gz": data,
    }.items():
        (tmp_path / name).write_bytes(whole)
        rows, bad = read_rows(tmp_path / name)
        assert not bad
        assert [dict(row.values) for row in rows] == ROWS


INDENTED = {
    "list.jsonl": json.dumps(ROWS, indent=2),
    "object.jsonl": json.dumps({"p1": ROWS[0], "p2": ROWS[1]}, indent=1),
    "row.jsonl": "".join(json.dumps(row, indent=2) + "\n" for row in ROWS),
    "row.json": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "one_line.jsonl": json.dumps(ROWS),
    "posts.txt": LINES,
    "posts": LINES,
}


@pytest.mark.parametrize("name", INDENTED)
def test_json_is_read_in_whatever_form_it_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(INDENTED[name])
    rows, bad = read_rows(tmp_path / name)
    assert not bad
    assert [row.values["text"] for row in rows] == ["soup", "tea, no"]


def test_an_indented_row_knows_the_line_it_starts_at(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{\n "text": "one"\n}\n{\n "text": "two"\n}\n')
    rows, _ = read_rows(tmp_path / "a.jsonl")
    assert [row.place.rpartition(":")[2] for row in rows] == ["1", "4"]


EMPTY = {
    "nothing.csv": "", "sep.csv": "sep=;\n", "cut.csv": "sep=;", "excel.csv": '"sep=;"\r\n',
    "lines.jsonl": "\n\n",
}  # fmt: skip
ROWLESS = {
    "header.csv": "text,label\n", "header.tsv": "text\tlabel", "both.csv": "sep=;\ntext;label\n",
    "list.json": "[]", "object.json": "{}",
}  # fmt: skip


@pytest.mark.parametrize("name", [*EMPTY, *ROWLESS])
def test_a_file_without_a_row_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text({**EMPTY, **ROWLESS}[name])
    said = "the file is empty; expected" if name in EMPTY else "there is no row in it"
    with pytest.raises(DataError, match=f"{name}(:1)?: {said}"):
        read_rows(tmp_path / name)


def test_a_table_without_a_row_is_refused(tmp_path: Path) -> None:
    from datasets import Dataset

    TABLE[:0].to_parquet(tmp_path / "a.parquet")
    TABLE[:0].to_feather(tmp_path / "a.arrow")
    Dataset.from_pandas(TABLE[:0]).save_to_disk(tmp_path / "a.saved")
    for name in ("a.parquet", "a.arrow", "a.saved"):
        with pytest.raises(DataError, match=f"{name}: (there is no row in it|not a data set)"):
            read_rows(tmp_path / name)


@pytest.mark.parametrize("rest", ["\n[]", '\n{"text": "c"}', "\nmore"])
def test_rows_behind_a_list_are_not_dropped(tmp_path: Path, rest: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS) + rest)
    with pytest.raises(DataError, match=r"a.json:2: more follows where the rows end; expected"):
        read_rows(tmp_path / "a.json")


def test_a_packed_file_is_read_one_line_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES.encode() + b"\xff\n"))
    rows = stream_rows(path)
    assert [next(rows).place for _ in ROWS] == [f"{path}:1", f"{path}:2"]
    with pytest.raises(DataError, match=r":3: not UTF-8"):
        next(rows)


REFUSED = {
    "a.xlsx": (b"PK\x03\x04", "a workbook of a spreadsheet; save it there as `CSV UTF-8`"),
    "a.xls": (b"\xd0\xcf\x11\xe0", "a workbook"),
    "a.csv": (b"PK\x03\x04", "a zip archive; unpack it"),
    "a.zip": (b"PK\x03\x04", "a zip archive; unpack it"),
    "a.pkl": (pickle.dumps(ROWS), "a Python pickle; reading it could run code"),
    "old.pickle": (pickle.dumps(ROWS, 0), "a Python pickle; reading it could run code"),
    "named.jsonl": (pickle.dumps(ROWS), "a Python pickle; reading it could run code"),
    "bare.csv": (CSV.encode("utf-16-le"), "no text, or UTF-16 (it holds null bytes)"),
    "a.csv.bz2": (b"BZh91AY", "compressed with bzip2; unpack it"),
    "pointer.parquet": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "pointer.csv": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "page.csv": (b"\n<!DOCTYPE html>\n<html>", "a web page; download the file itself"),
    "a.tar.gz": (gzip.compress(b"posts.csv\0\0"), "an archive; unpack it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_is_named_with_what_would_work(tmp_path: Path, name: str) -> None:
    data, said = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        read_rows(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: this is {said}")
    assert "\n" not in str(error.value)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    for protocol in range(6):
        path = tmp_path / f"a{protocol}.pkl"
        path.write_bytes(pickle.dumps(Trap(), protocol))
        with pytest.raises(DataError):
            read_rows(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["posts.txt", "posts"])
def test_a_name_that_tells_no_format_is_answered_with_those_that_do(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(CSV)
    with pytest.raises(
        DataError, match=r"not say how rows are laid out; rename it .*\.jsonl, .*csv"
    ):
        read_rows(tmp_path / name)


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode() * 500)[:-12])
    with pytest.raises(DataError, match=r"a.jsonl.gz: the gzip file is cut off or damaged"):
        read_rows(tmp_path / "a.jsonl.gz")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
@pytest.mark.parametrize("kept", [0, 40, -40])
def test_a_table_that_is_cut_off_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    data = content(tmp_path, Path(name).suffix)
    (tmp_path / name).write_bytes(data[:kept])
    with pytest.raises(DataError, match=r"not (Parquet|Arrow or Feather) .*copy or download"):
        read_rows(tmp_path / name)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' is there twice"):
        read_rows(tmp_path / "a.parquet")


def test_a_folder_of_splits_may_be_in_any_format_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "Train.PARQUET").write_bytes(content(tmp_path, ".parquet"))
    (tmp_path / "val.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "unified_test.TSV").write_bytes(content(tmp_path, ".tsv"))
    found = {split: path.name for split, path in find_splits(tmp_path).items()}
    assert found == {
        "train": "Train.PARQUET",
        "validation": "val.csv.gz",
        "test": "unified_test.TSV",
    }
    assert {example.split for example in load_folder(tmp_path).examples} == set(found)


def saved(folder: Path) -> Path:
    from datasets import Dataset, DatasetDict

    rows = Dataset.from_list(ROWS)
    DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(folder)
    return folder


def test_a_saved_data_set_is_named_like_a_file_and_one_of_its_splits_at_a_time(
    tmp_path: Path,
) -> None:
    folder = saved(tmp_path / "saved")
    assert [example.text for example in resolve(str(folder / "test"))] == ["tea, no"]
    with pytest.raises(DataError) as error:
        resolve_path(str(folder))
    assert f"holds 2 splits; name one: {folder}/test, {folder}/train." in str(error.value)
    assert Source.parse(f"unified:{folder}").files == [folder]
    assert [post.example.split for post in read_posts([folder]).posts] == ["train", "train", "test"]


def test_another_folder_is_refused_with_what_can_be_named(tmp_path: Path) -> None:
    for read in (read_rows, lambda path: resolve(str(path))):
        with pytest.raises(
            DataError,
            match=r"a folder without Parquet files, and none .* name a file",
        ):
            read(tmp_path)


def test_the_digest_of_a_saved_data_set_changes_with_any_of_its_files(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    before = data_files.digest(folder)
    assert data_files.digest(folder) == before
    (folder / "test/state.json").write_text("{}")
    assert data_files.digest(folder) != before
