"""Any table whose columns are named, and chats, which are no posts."""

import json
from pathlib import Path
from typing import Any

import pytest
from label_maps import labels_of

from hsd.data.chat_rows import problem, stream_chats
from hsd.data.own_table import load_table
from hsd.data.source_formats import load_posts
from hsd.data.table_columns import Columns
from hsd.data.unified import to_row
from hsd.errors import ConfigError, DataError
from hsd.example import Example

TABLE = """no,body,verdict,about
1,one of them,mean,arab
2,two of them,kind,
3,three of them,unsure,gay
"""


def test_named_columns_and_labels_make_examples(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(TABLE)
    columns = Columns("body", "verdict", "about", "no", {"mean": "hate", "Kind": "normal"})
    loaded = load_table(path, columns)
    assert [(e.id, e.label, e.groups, e.source_dataset) for e in loaded.examples] == [
        ("1", "hate", ("middle_east",), "own"),
        ("2", "normal", (), "own"),
    ]
    assert [row.place for row in loaded.bad] == [f"{path}:4"]
    assert "unknown label 'unsure' in 'verdict'" in loaded.bad[0].reason


def test_an_unknown_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(TABLE)
    with pytest.raises(DataError, match=r"own.csv:1: no column 'boby'. Did you mean 'body'\?"):
        load_table(path, Columns("boby", "verdict"))


PREPARED = Example(
    id="a",
    text="one of them",
    label="hate",
    named=("middle_east",),
    groups=("middle_east",),
    persona_tag="arab",
    source_dataset="forum",
    functionality="negation",
    reference_id="b",
    cluster="thread 7",
)


def written(folder: Path, *without: str) -> Path:
    row = {name: cell for name, cell in to_row(PREPARED).items() if name not in without}
    (folder / "own.jsonl").write_text(json.dumps(row) + "\n")
    return folder / "own.jsonl"


def test_an_option_for_a_prepared_file_never_drops_what_its_rows_say(tmp_path: Path) -> None:
    path = written(tmp_path)
    plain = load_posts(path).examples[0]
    (asked,) = load_posts(path, Columns(group="target_group", id="id")).examples
    for name in ("source_dataset", "functionality", "reference_id", "cluster", "persona_tag"):
        assert getattr(asked, name) == getattr(plain, name) == getattr(PREPARED, name), name


def test_a_group_column_of_its_own_is_not_mixed_with_the_names_of_another(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label,about,target_group,persona_tag\none,hate,gay,middle_east,arab\n")
    (example,) = load_table(path, Columns(group="about")).examples
    assert (example.groups, example.persona_tag) == (("lgbtq",), "gay")


def test_references_to_rows_whose_ids_are_not_read_are_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_posts(path, Columns()).notes == [
        f"{path}: 'reference_id' refers to rows by their ids, but no ids are read; name their "
        "column, such as --id-column id."
    ]
    assert load_posts(path, Columns(id="id")).notes == []
    assert load_posts(written(tmp_path, "reference_id"), Columns()).notes == []


def test_label_names_are_given_as_pairs() -> None:
    assert labels_of(label=["a=b=hate", "x=normal"]) == {"a=b": "hate", "x": "normal"}
    for wrong in ("mean", "mean=bad", "=hate"):
        with pytest.raises(ConfigError, match="expected NAME=hate or NAME=normal"):
            labels_of(label=[wrong])


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


ANSWER = '{"classification": "hate"}'
GOOD = chat(("system", "Sort."), ("user", "Post: a"), ("assistant", ANSWER))


def test_a_chat_file_gives_its_turns(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(GOOD | {"id": "c1", "label": "hate"}) + "\n")
    (row,) = stream_chats(path)
    assert (row.id, row.place) == ("c1", f"{path}:1")
    assert [turn["role"] for turn in row.messages] == ["system", "user", "assistant"]


PROBLEMS = {
    "'messages' is not a list of turns": {"text": "a"},
    "unknown role 'human'": chat(("human", "a")),
    "the user turn has no content": chat(("user", " "), ("assistant", ANSWER)),
    "the assistant turn has no content": chat(("user", "a"), ("assistant", None)),
    "turns are user; expected": chat(("user", "a")),
    "turns are assistant, user; expected": chat(("assistant", ANSWER), ("user", "a")),
    "the assistant turn is not JSON": chat(("user", "a"), ("assistant", "hate")),
    "the answer's classification is 'mean'": chat(
        ("user", "a"), ("assistant", '{"classification": "mean"}')
    ),
    "the answer writes the key 'classification' twice": chat(
        ("user", "a"), ("assistant", '{"classification": "hate", "classification": "normal"}')
    ),
    "the answer's classification is 'None'": chat(("user", "a"), ("assistant", "[1]")),
}


@pytest.mark.parametrize("reason", PROBLEMS)
def test_a_chat_that_cannot_be_learned_says_why(reason: str) -> None:
    said = problem(PROBLEMS[reason])
    assert said is not None
    assert said.startswith(reason)


def test_bad_chats_and_repeated_ids_are_listed_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [GOOD | {"id": "c1"}, {"text": "a"}, GOOD | {"id": "c1"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as error:
        list(stream_chats(path))
    assert "2 of 3 chats cannot be used" in str(error.value)
    assert f"{path}:2: 'messages' is not" in str(error.value)
    assert f"{path}:3: id 'c1' is also at {path}:1" in str(error.value)
