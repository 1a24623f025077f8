"""A name or a path gives the rows behind it, or says where was looked."""

import json
from pathlib import Path

import pytest

from hsd.data.data_sets import folders, resolve, resolve_path
from hsd.data.source_formats import ReadOptions, Source
from hsd.errors import ConfigError, DataError


def unified(folder: Path, name: str, *ids: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": i, "text": f"post {i}", "label": "hate", "target_group": "none"} for i in ids]
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HSD_DATA", raising=False)
    return tmp_path


def ids(name: str, folder: Path | None = None) -> list[str]:
    return [example.id for example in resolve(name, folder)]


def test_unified_is_the_test_split_of_the_named_folder(here: Path) -> None:
    unified(here / "given", "test.jsonl", "a")
    unified(here / "given", "train.jsonl", "b")
    assert ids("unified", here / "given") == ["a"]
    assert resolve("unified", here / "given")[0].split == "test"


def test_the_argument_wins_over_the_variable_and_that_over_the_local_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("argument", "variable", "data/unified"):
        unified(here / name, "test.jsonl", name)
    assert ids("unified") == ["data/unified"]
    monkeypatch.setenv("HSD_DATA", str(here / "variable"))
    assert ids("unified") == ["variable"]
    assert ids("unified", here / "argument") == ["argument"]


@pytest.mark.parametrize("root", ["out", "out/unified"])
def test_canned_rows_of_a_prepared_folder_are_found(here: Path, root: str) -> None:
    unified(here / "out/unified", "test.jsonl", "t")
    unified(here / "out", "canned_50_quick.jsonl", "c")
    assert ids("canned_50_quick", here / root) == ["c"]
    assert ids("unified", here / root) == ["t"]


def test_embedded_rows_need_no_folder() -> None:
    test, train = resolve("embedded"), resolve("embedded:train")
    assert {example.split for example in test} == {"test"}
    assert {example.split for example in train} == {"train"}
    assert {example.label for example in test} == {"hate", "normal"}
    assert any(example.functionality for example in test)
    assert not {example.id for example in test} & {example.id for example in train}


def test_a_path_is_read_by_its_columns(here: Path) -> None:
    path = here / "votes.csv"
    path.write_text(
        "id,annotators,rationales,post_tokens\n7,\"{'label': [0, 0, 1], 'target': "
        "[[], [], []]}\",[],\"['so', 'wet']\"\n"
    )
    assert resolve(str(path))[0].text == "so wet"
    path = here / "toxigen.csv"
    path.write_text("generation,group,prompt_label\nsoup is fine,women,0\n")
    assert resolve(str(path))[0].source_dataset == "toxigen"
    assert ids(str(unified(here, "own.jsonl", "o"))) == ["o"]


def test_a_misspelt_name_is_answered_with_the_nearest(here: Path) -> None:
    with pytest.raises(DataError, match=r"no such name, .* Did you mean 'canned_50_quick'\?"):
        resolve("caned_50_quick")
    unified(here / "own", "posts.jsonl", "p")
    with pytest.raises(DataError, match=r"Did you mean 'own/posts.jsonl'\?"):
        resolve_path("own/post.jsonl")


def test_an_absent_folder_says_where_was_looked(here: Path) -> None:
    with pytest.raises(DataError) as error:
        resolve("unified")
    assert all(str(folder.absolute()) in str(error.value) for folder in folders())
    assert "HSD_DATA" in str(error.value)


def test_chats_are_never_taken_for_posts(here: Path) -> None:
    path = here / "train.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    with pytest.raises(DataError, match="holds chats"):
        resolve(str(path))


def test_unknown_columns_are_listed(here: Path) -> None:
    path = here / "own.jsonl"
    path.write_text('{"body": "a", "verdict": "mean"}\n')
    with pytest.raises(DataError, match="columns body, verdict are of no known kind"):
        resolve(str(path))


@pytest.mark.parametrize("header", ["Text,Label", "TEXT,LABEL", "text,Label"])
def test_columns_in_capitals_are_said_to_be_the_trouble(here: Path, header: str) -> None:
    path = here / "own.csv"
    path.write_text(f"{header}\na,hate\n")
    with pytest.raises(DataError) as error:
        resolve(str(path))
    text, label = header.split(",")
    assert "hsd expects text and label, in small letters" in str(error.value)
    assert f"--text-column {text} --label-column {label}`" in str(error.value)


def test_a_mistyped_name_that_a_sweep_made_a_path_is_answered_as_it_was_typed(here: Path) -> None:
    with pytest.raises(DataError) as error:
        resolve(str(Path("embeded").absolute()))
    assert str(error.value).startswith("data file 'embeded': no such name, and no such file in")
    assert "Did you mean 'embedded'?" in str(error.value)


def test_the_default_data_that_is_not_there_names_each_folder_once(here: Path) -> None:
    with pytest.raises(DataError) as error:
        resolve("canned_50_quick")
    said = str(error.value)
    assert said.startswith("data 'canned_50_quick', the default of --data-file: no canned_50_quick")
    places = said.partition("looked in ")[2].partition(". ")[0].split(", ")
    assert len(places) == len(set(places)) > 1
    with pytest.raises(DataError, match=r"^data 'unified': no test\.jsonl"):
        resolve("unified")


def test_a_bad_row_is_an_error_unless_tolerated(here: Path) -> None:
    path = unified(here, "own.jsonl", "a", "b")
    path.write_text(path.read_text() + '{"text": "c", "label": "?"}\n')
    with pytest.raises(DataError, match=r"1 of 3 rows cannot be used: .*own.jsonl:3: unknown"):
        resolve(str(path))
    assert len(resolve(str(path), tolerate=1)) == 2


def test_an_id_twice_names_both_lines(here: Path) -> None:
    path = unified(here, "own.jsonl", "a", "b", "a")
    with pytest.raises(DataError, match=r"own.jsonl:3: id 'a' is also at .*own.jsonl:1"):
        resolve(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("posts.csv", "expected KIND:PATH"),
        ("table:", "expected KIND:PATH"),
        ("hatexplan:a.json", r"unknown kind 'hatexplan'. Did you mean 'hatexplain'\?"),
    ],
)
def test_a_source_that_is_none_says_what_one_is(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Source.parse(text)


def test_a_source_reads_as_it_is_written() -> None:
    assert str(Source.parse("hub:owner/name@main")) == "hub:owner/name@main"


def test_an_unknown_word_for_offensive_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown value 'nomal'. Did you mean 'normal'\?"):
        ReadOptions(offensive="nomal")  # type: ignore[arg-type]
