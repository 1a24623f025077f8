"""Rows of the unified data, in the older keys and in ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from hsd.data.loaded_file import Bad, example_of, listed
from hsd.data.read_rows import Row
from hsd.data.source_formats import load_posts
from hsd.data.table_columns import Columns
from hsd.data.unified import convert, find_splits, load_folder, to_row
from hsd.errors import DataError
from hsd.example import Example

OLDER = {
    "text": "tea is better than coffee",
    "label_binary": "hate",
    "label_multiclass": "offensive",
    "target_group_norm": "middle_east",
    "persona_tag": "arab",
    "source_dataset": "toxigen",
    "is_synthetic": "True",
    "rationale_text": "better",
    "original_id": "77",
    "split": "val",
}


def converted(**values: Any) -> Any:
    return example_of(convert, Row(values, "f:1"))


def test_the_older_keys_are_read_as_they_are() -> None:
    assert converted(**OLDER) == Example(
        id="",
        text="tea is better than coffee",
        label="hate",
        groups=("middle_east",),
        persona_tag="arab",
        source_dataset="toxigen",
        label_multiclass="offensive",
        is_synthetic=True,
        rationale="better",
        original_id="77",
        split="validation",
    )


def test_a_written_row_reads_back_equal() -> None:
    example = Example(
        id="e1",
        text=" two spaces \u2028 stay ",
        label="normal",
        groups=("lgbtq", "other"),
        persona_tag="gay|women",
        source_dataset="s",
        split="train",
        functionality="negation",
        case_id="c1",
        is_synthetic=True,
        rationale="because",
    )
    row = json.loads(json.dumps(to_row(example)))
    assert example_of(convert, Row(row, "f:1")) == example


def test_without_a_group_column_the_persona_tells_the_group() -> None:
    assert converted(text="a", label="hate", persona_tag="muslim").groups == ("middle_east",)


@pytest.mark.parametrize("blank", [None, float("nan"), "", "  "])
def test_a_blank_group_column_never_hides_a_filled_one(blank: Any) -> None:
    post = {"text": "a", "label": "hate"}
    for beside in ({"target_group": "mexican"}, {"target_group": blank, "persona_tag": "mexican"}):
        row = {**post, "group_names": blank, "target_group_norm": blank, **beside}
        assert converted(**row).groups == ("mexican",)
    every_blank = dict.fromkeys(("group_names", "target_group_norm", "target_group"), blank)
    assert converted(**post, **every_blank).groups == ()


@pytest.mark.parametrize("nobody", [[], "[]", "none"])
def test_a_column_that_says_nobody_is_not_blank(nobody: Any) -> None:
    row = {"text": "a", "label": "hate", "group_names": nobody, "target_group": "mexican"}
    assert converted(**row).groups == ()


def test_two_columns_of_labels_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label,label_binary\na,hate,normal\nb,0,hate\nc,hate,1\n")
    loaded = load_posts(path)
    assert [example.text for example in loaded.examples] == ["c"]
    assert listed(loaded.bad).startswith(
        f"2 rows ({path}:2, {path}:3): 'label_binary' and 'label' contradict each other; name the "
        "one that is right, with --label-column label_binary or --label-column label"
    )
    for name, labels in (("label", "hate normal hate"), ("label_binary", "normal hate hate")):
        named = load_posts(path, Columns(label=name))
        assert [example.label for example in named.examples] == labels.split()


@pytest.mark.parametrize("said", [None, "", "offensive", 2, "hate", "toxic"])
def test_a_second_column_that_says_the_same_or_no_known_label_is_no_contradiction(
    said: Any,
) -> None:
    assert converted(text="a", label_binary="hate", label=said).label == "hate"


def test_a_missing_cell_of_pandas_is_absent() -> None:
    made = converted(text="a", label="hate", rationale_text=float("nan"), original_id=None)
    assert (made.rationale, made.original_id) == ("", "")


BAD: dict[str, dict[str, Any]] = {
    "no column 'text'": {"label": "hate"},
    "no text in 'text'": {"text": "  ", "label": "hate"},
    "'text' holds no text but a float": {"text": float("nan"), "label": "hate"},
    "'text' holds half a character": {"text": "a\ud800", "label": "hate"},
    "no label in 'label'": {"text": "a"},
    "unknown label 'offensive' in 'label_binary'": {"text": "a", "label_binary": "offensive"},
    "unknown group 'mexcian'": {"text": "a", "label": "hate", "target_group": "mexcian"},
}


@pytest.mark.parametrize("reason", BAD)
def test_a_row_that_cannot_be_used_says_why(reason: str) -> None:
    made = converted(**BAD[reason])
    assert isinstance(made, Bad)
    assert made.reason.startswith(reason)


def test_a_folder_gives_each_row_the_split_of_its_file_unless_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": "hate"}\n')
    (tmp_path / "unified_val.json").write_text('[{"text": "b", "label": "hate"}]')
    (tmp_path / "test.csv").write_text("text,label,split\nc,hate,dev\n")
    loaded = load_folder(tmp_path)
    assert [(e.text, e.split) for e in loaded.examples] == [
        ("a", "train"),
        ("b", "validation"),
        ("c", "validation"),
    ]


def test_a_folder_without_splits_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"expected train, val and test .*it holds .*notes.txt"):
        find_splits(tmp_path)
    (tmp_path / "unified").mkdir()
    with pytest.raises(DataError, match=r"no such folder. Did you mean 'unified'\?"):
        find_splits(tmp_path / "unifed")
