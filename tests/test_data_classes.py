"""Codes are read by the names that their file gives them, never by habit."""

import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest
from label_maps import labels_of
from pyarrow import parquet

from hsd.data import hub_rows, unified
from hsd.data.class_names import ClassName, features_of, named, with_names
from hsd.data.own_table import load_table
from hsd.data.read_rows import read_rows
from hsd.data.source_formats import ReadOptions, convert_detected, load_any
from hsd.data.table_columns import Columns
from hsd.errors import DataError

REVERSED = {"names": ["hate", "no-hate"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}


def noted(features: dict[str, Any]) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def written(path: Path, label: Any = REVERSED, codes: tuple[Any, ...] = (0, 1)) -> Path:
    """Posts a, b, ... with codes, in a file that names its classes."""
    table = pyarrow.table({"text": list("abcdef")[: len(codes)], "label": list(codes)})
    table = table.replace_schema_metadata(noted({"text": TEXT, "label": label}))
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with pyarrow.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    return path


def labels(path: Path) -> dict[str, str]:
    return {example.text: example.label for example in load_any(path, ReadOptions()).examples}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_the_names_of_a_file_win_over_what_codes_mostly_mean(tmp_path: Path, name: str) -> None:
    assert labels(written(tmp_path / name)) == {"a": "hate", "b": "normal"}


def test_floats_are_codes_too(tmp_path: Path) -> None:
    assert labels(written(tmp_path / "a.parquet", codes=(0.0, 1.0))) == {"a": "hate", "b": "normal"}


def test_a_code_that_no_class_has_is_a_bad_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", codes=(0, 2, -2, 1))
    loaded = load_any(path, ReadOptions())
    assert [example.text for example in loaded.examples] == ["a", "d"]
    assert [(row.place, row.reason) for row in loaded.bad] == [
        (f"{path}:2", "'label' is 2, but the file names 2 classes: hate, no-hate"),
        (f"{path}:3", "'label' is -2, but the file names 2 classes: hate, no-hate"),
    ]


def test_the_code_for_not_labelled_is_no_label(tmp_path: Path) -> None:
    loaded = load_any(written(tmp_path / "a.parquet", codes=(0, -1)), ReadOptions())
    assert [row.reason for row in loaded.bad] == ["no label in 'label'"]


def test_unknown_names_are_unknown_labels_and_are_listed(tmp_path: Path) -> None:
    names = {"names": ["rude", "fine"], "_type": "ClassLabel"}
    loaded = load_any(written(tmp_path / "a.parquet", names), ReadOptions())
    assert not loaded.examples
    assert "'rude' in 'label' (the file names its classes rude, fine)" in loaded.bad[0].reason


def test_classes_without_names_are_codes(tmp_path: Path) -> None:
    only_counted = {"num_classes": 2, "_type": "ClassLabel"}
    path = written(tmp_path / "a.parquet", only_counted)
    assert labels(path) == {"a": "normal", "b": "hate"}


def test_categories_of_pandas_are_their_names(tmp_path: Path) -> None:
    table = pandas.DataFrame({"text": ["a", "b"], "label": ["normal", "hate"]})
    table.astype({"label": "category"}).to_parquet(tmp_path / "a.parquet")
    assert labels(tmp_path / "a.parquet") == {"a": "normal", "b": "hate"}


def renamed(path: Path, codes: tuple[Any, ...] = (0, 1), name: str = "verdict") -> Path:
    """A file whose class column got another name; its note still has the old one."""
    table = parquet.read_table(written(path, codes=codes))
    renamed = table.rename_columns(["text", name]).replace_schema_metadata(table.schema.metadata)
    parquet.write_table(renamed, path)
    return path


@pytest.mark.parametrize("codes", [(0, 1), (0.0, 1.0)])
@pytest.mark.parametrize("name", ["verdict", "label_binary"])
def test_codes_whose_class_column_was_renamed_are_no_labels(
    tmp_path: Path, name: str, codes: tuple[Any, ...]
) -> None:
    path = renamed(tmp_path / "a.parquet", codes, name)
    loaded = load_table(path, Columns(label=name))
    assert not loaded.examples
    assert (
        f"unknown label '0' in '{name}' (the file names classes of a column 'label' that it lacks: "
        "hate, no-hate)"
    ) in loaded.bad[0].reason
    if name == "label_binary":
        assert not load_any(path, ReadOptions()).examples


def test_codes_whose_class_column_was_renamed_are_what_a_person_says(tmp_path: Path) -> None:
    columns = Columns(label="verdict", labels=labels_of(label=["0=hate", "1=normal"]))
    loaded = load_table(renamed(tmp_path / "a.parquet"), columns)
    assert [example.label for example in loaded.examples] == ["hate", "normal"]


def test_columns_that_the_note_knows_and_words_are_read_as_ever(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["a", "b"], "n": [0, 1], "verdict": ["hate", "normal"]})
    number = {"dtype": "int64", "_type": "Value"}
    features = {"text": TEXT, "n": number, "label": REVERSED}
    parquet.write_table(table.replace_schema_metadata(noted(features)), tmp_path / "a.parquet")
    for label, expected in (("n", ["normal", "hate"]), ("verdict", ["hate", "normal"])):
        loaded = load_table(tmp_path / "a.parquet", Columns(label=label))
        assert [example.label for example in loaded.examples] == expected


def test_no_number_is_a_class_by_an_overflow(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", codes=(float("inf"), 0.5, float("nan"), 1.0))
    loaded = load_any(path, ReadOptions())
    assert [row.reason for row in loaded.bad] == [
        "'label' is inf, but the file names 2 classes: hate, no-hate",
        "'label' is 0.5, but the file names 2 classes: hate, no-hate",
        "no label in 'label'",
    ]


CLASS = {"names": ["no", "yes"], "_type": "ClassLabel"}
NESTED = [
    ({"feature": CLASS, "_type": "Sequence"}, [1, 0, -1], ["yes", "no", None]),
    ({"feature": CLASS, "length": -1, "_type": "List"}, [1], ["yes"]),
    ([CLASS], [0], ["no"]),
    ([{"label": CLASS, "n": TEXT}], [{"label": 1, "n": 1}], [{"label": "yes", "n": 1}]),
    ({"feature": {"label": CLASS}, "_type": "Sequence"}, {"label": [1, 0]},
     {"label": ["yes", "no"]}),
    ({"votes": {"feature": CLASS, "_type": "List"}}, {"votes": [1]}, {"votes": ["yes"]}),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "codes", "names"), NESTED)
def test_votes_inside_lists_and_structs_are_named_too(feature: Any, codes: Any, names: Any) -> None:
    assert list(with_names({"votes": feature, "text": TEXT})) == ["votes"]
    assert named(codes, feature) == names


def test_votes_of_hatexplain_are_read_by_the_names_of_the_file(tmp_path: Path) -> None:
    votes = {"names": ["normal", "hatespeech", "offensive"], "_type": "ClassLabel"}
    table = pyarrow.table(
        {
            "id": ["1"],
            "post_tokens": [["so", "wet"]],
            "annotators": [{"label": [0, 0, 1], "target": [["None"]] * 3}],
        }
    )
    feature = {"label": {"feature": votes, "_type": "List"}}
    table = table.replace_schema_metadata(noted({"annotators": feature}))
    parquet.write_table(table, tmp_path / "a.parquet")
    assert labels(tmp_path / "a.parquet") == {"so wet": "normal"}  # 0 is hatespeech elsewhere


@pytest.mark.parametrize("note", [b"", b"[1]", b'{"info": null}', b"\xff", b'{"info": {}}'])
def test_a_note_that_cannot_be_read_names_nothing(note: bytes) -> None:
    assert with_names(features_of({b"huggingface": note})) == {}


def test_a_class_name_is_a_word_like_any_other() -> None:
    name = ClassName("hate", ("hate", "fine"))
    counts: dict[str, int] = {name: 1}
    assert (name, json.dumps([name]), counts["hate"]) == ("hate", '["hate"]', 1)


def saved(folder: Path) -> Path:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["hate", "no-hate"])})
    rows = Dataset.from_dict({"text": list("abcd"), "label": [0, 1, 0, 1]}, features=features)
    DatasetDict({"train": rows.select([2, 0, 1]), "test": rows.select([3])}).save_to_disk(folder)
    return folder


def test_a_saved_data_set_is_read_with_its_names_and_splits(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    rows, bad = read_rows(folder)
    assert not bad
    assert [(row.values["text"], row.values["label"], row.values["split"]) for row in rows] == [
        ("c", "hate", "train"), ("a", "hate", "train"), ("b", "no-hate", "train"),
        ("d", "no-hate", "test"),
    ]  # fmt: skip
    assert rows[3].place == f"{folder}/test:1"
    assert labels(folder / "train") == {"c": "hate", "a": "hate", "b": "normal"}


@pytest.mark.parametrize(
    ("declared", "split"),
    [("test", "test"), ("dev", "dev"), ("test[:50%]", "test"), (None, ""), ("train+test", "")],
)
def test_a_saved_data_set_is_of_the_split_that_it_declares(
    tmp_path: Path, declared: str | None, split: str
) -> None:
    from datasets import Dataset, Split

    rows = {"text": ["a", "b"], "label": [0, 1]}
    named = None if declared is None else Split(declared)
    Dataset.from_dict(rows, split=named).save_to_disk(tmp_path / "own")
    found, _ = read_rows(tmp_path / "own")
    assert [row.values.get("split", "") for row in found] == [split, split]
    assert found[1].place == f"{tmp_path}/own:2"


def test_the_folder_of_a_part_tells_its_split_better_than_what_the_part_came_from(
    tmp_path: Path,
) -> None:
    from datasets import Dataset

    rows = Dataset.from_dict({"text": list("abcd"), "label": [0, 1, 0, 1]}, split="train")
    rows.train_test_split(test_size=2, seed=1).save_to_disk(tmp_path / "parts")
    for folder in ("parts", "parts/test"):
        found, _ = read_rows(tmp_path / folder)
        assert found[-1].values["split"] == "test"
        assert found[-1].place.rpartition("/")[2] == "test:2"


def test_a_row_of_a_saved_data_set_may_say_another_split(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = {"text": ["a"], "label": [0], "split": ["dev"]}
    Dataset.from_dict(rows, split="train").save_to_disk(tmp_path / "own")
    assert read_rows(tmp_path / "own")[0][0].values["split"] == "dev"


def test_a_damaged_saved_data_set_is_one_line(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    next((folder / "train").glob("*.arrow")).write_bytes(b"no")
    with pytest.raises(DataError, match=r"saved: not a data set that .* can load"):
        read_rows(folder)


def test_rows_of_the_hub_are_read_by_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    splits = datasets.load_from_disk(str(saved(tmp_path / "saved")))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: splits)
    monkeypatch.setattr(hub_rows, "_commit", lambda *_: "0123456789abcdef")
    rows, commit = hub_rows.download("owner/posts")
    loaded = convert_detected(rows, "hub:owner/posts", ReadOptions())  # type: ignore[arg-type]
    assert {example.text: example.label for example in loaded.examples} == {
        "a": "hate", "b": "normal", "c": "hate", "d": "normal",
    }  # fmt: skip
    assert loaded.examples[0].place == "hub:owner/posts@0123456789ab/train:1"
    assert commit == "0123456789abcdef"


def test_a_split_keeps_its_name_where_rows_are_unified(tmp_path: Path) -> None:
    rows, _ = read_rows(saved(tmp_path / "saved"))
    assert [getattr(unified.convert(row), "split", None) for row in rows] == ["train"] * 3 + [
        "test"
    ]
