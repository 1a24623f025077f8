"""Files as people have them: encodings, delimiters, folders of Parquet; said, never guessed."""

import gzip
import json
from pathlib import Path
from typing import Any

import click
import pandas
import pytest
from click.testing import CliRunner

from hsd.config.loading import load_train_config
from hsd.config.table_config import TableConfig
from hsd.config.train_config import TrainConfig
from hsd.data import data_files
from hsd.data.data_sets import resolve, resolve_path
from hsd.data.how_read import how_read
from hsd.data.posts import read_posts
from hsd.data.prepare import prepare
from hsd.data.prepared_data import Preparation, preparation
from hsd.data.read_rows import read_rows
from hsd.data.source_formats import load_posts
from hsd.data.table_columns import Columns, columns_in
from hsd.errors import DataError, PreflightError
from hsd.io.files import write_json
from hsd.io.json_reader import read_object
from hsd.io.run_identity import differences
from jobs.data import check as check_command
from jobs.data import swap as swap_command
from jobs.evaluate import evaluate as evaluate_command
from jobs.prepare import prepare as prepare_command
from jobs.terminal.table_options import NAMES

POSTS = {"text": ["süß, naïve", "tea"], "label": ["hate", "normal"]}
WESTERN = (
    "read as Windows-1252 (with the letters ü ß ï; if they look wrong, save the file as UTF-8)"
)

ENCODED = {
    "utf8.csv": ("utf-8", ",", ""),
    "bom.csv": ("utf-8-sig", ",", ""),
    "tabs.tsv": ("utf-8", "\t", ""),
    "excel.csv": ("cp1252", ";", f"{WESTERN}; cells are separated by semicolons."),
    "bars.csv": ("utf-8", "|", "cells are separated by vertical bars."),
    "tabs.csv": ("utf-8", "\t", "cells are separated by tabs."),
    "commas.tsv": ("utf-8", ",", "cells are separated by commas."),
    "unicode.csv": ("utf-16", "\t", "read as UTF-16; cells are separated by tabs."),
    "packed.csv.gz": ("cp1252", ",", f"{WESTERN}."),
    "unicode.tsv.gz": ("utf-16", "\t", "read as UTF-16."),
}


@pytest.mark.parametrize("name", ENCODED)
def test_encoding_and_delimiter_are_detected_and_said(name: str, tmp_path: Path) -> None:
    encoding, delimiter, said = ENCODED[name]
    data = pandas.DataFrame(POSTS).to_csv(index=False, sep=delimiter).encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    loaded = load_posts(path)
    assert [(e.text, e.label) for e in loaded.examples] == [*zip(*POSTS.values(), strict=True)]
    assert loaded.notes == ([f"{path}: {said}"] if said else [])
    assert read_posts([path]).notes == loaded.notes


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_in_utf_16_is_read_as_its_mark_says(name: str, tmp_path: Path) -> None:
    rows = [dict(zip(POSTS, row, strict=True)) for row in zip(*POSTS.values(), strict=True)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    path = tmp_path / name
    path.write_bytes((lines if name == "a.jsonl" else json.dumps(rows)).encode("utf-16"))
    assert [row.values for row in read_rows(path)[0]] == rows
    assert how_read(path) == [f"{path}: read as UTF-16."]


def test_utf_16_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\na,hate\n".encode("utf-16")[:-1])
    with pytest.raises(DataError, match=r"a.csv: the UTF-16 text is cut off or damaged"):
        read_rows(path)


OTHERS = {
    "cp1250": "zażółć gęślą jaźń",
    "cp1251": "привет мир",
    "shift_jis": "こんにちは",
    "cp1253": "καλημέρα",
    "gb18030": "你好世界",
    "euc_kr": "안녕하세요",
    "big5": "你好世界",
}


@pytest.mark.parametrize("encoding", OTHERS)
def test_an_encoding_of_another_language_is_not_taken_for_windows_1252(
    encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"text,label\n{OTHERS[encoding]},hate\n".encode(encoding))
    with pytest.raises(DataError, match=r"a.csv:2: not UTF-8 .*save it as UTF-8 \(in Excel: `CSV"):
        read_rows(path)


WESTERN_WORDS = [
    "«\xa0À\xa0» où",
    "„Übermaß“ – süß",
    "¿Qué? ¡Sí!",
    "l’été 5 €",
    "naïveté…",
    "col·lecció",
]


@pytest.mark.parametrize("words", WESTERN_WORDS)
def test_western_languages_are_read_as_excel_on_windows_writes_them(
    words: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(f"text,label\n{words},hate\n".encode("cp1252"))
    assert load_posts(tmp_path / "a.csv").examples[0].text == words


def test_utf_8_with_a_damaged_byte_is_not_taken_for_windows_1252(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\ncafé,hate\n".encode() + b"caf\xe9,hate\n")
    with pytest.raises(DataError, match=r"a.csv:3: not UTF-8 \(byte 0xe9\)"):
        read_rows(path)


def parquet(folder: Path, *names: str, **columns: list[Any]) -> Path:
    """A folder with one row a file, which says the file's name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        row = {"text": [f"post of {name}"], "label": ["hate"], **columns}
        pandas.DataFrame(row).to_parquet(folder / name)
    return folder


LAYOUTS = {
    "of the hub": {
        "data/train-00000-of-00002.parquet": "train",
        "data/train-00001-of-00002.parquet": "train",
        "data/test-00000-of-00001.parquet": "test",
    },
    "of the hub's copies": {"validation/0000.parquet": "validation", "train/0000.parquet": "train"},
    "by name": {"dev.parquet": "validation", "training_1.parquet": "train"},
    "parts": {"part-00000-c000.snappy.parquet": "", "part-00001-c000.snappy.parquet": ""},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_parquet_files_is_one_table_with_splits(layout: str, tmp_path: Path) -> None:
    files = LAYOUTS[layout]
    parquet(tmp_path / "set", *files)
    (tmp_path / "set/README.md").write_text("notes")
    (tmp_path / "set/.cache").mkdir()
    parquet(tmp_path / "set/.cache", "old.parquet")
    loaded = load_posts(tmp_path / "set")
    found = {e.text.removeprefix("post of "): e.split for e in loaded.examples}
    assert found == files
    assert {e.place.rpartition(":")[0] for e in loaded.examples} == {
        str(tmp_path / "set" / name) for name in files
    }
    assert f"{len(files)} Parquet files are read" in loaded.notes[0]


def test_one_split_of_a_folder_of_parquet_files_can_be_named(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", *LAYOUTS["of the hub"])
    (only,) = resolve(str(folder / "test"))
    assert (only.text, only.split) == ("post of data/test-00000-of-00001.parquet", "test")
    assert len(resolve(str(folder / "train"))) == 2
    with pytest.raises(DataError, match=rf"holds 2 splits; name one: {folder}/test, {folder}/tra"):
        resolve_path(str(folder))
    for nothing in ("tests", "test.csv"):
        with pytest.raises(DataError, match="no such name, and no such file"):
            resolve_path(str(folder / nothing))


def test_a_split_of_a_folder_has_a_digest_of_its_own_files(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", "train.parquet", "test.parquet")
    before = {name: data_files.digest(folder / name) for name in ("", "train", "test")}
    parquet(folder, "test.parquet", label=["normal"])
    (folder / "README.md").write_text("notes")
    after = {name: data_files.digest(folder / name) for name in before}
    assert [name for name in before if before[name] == after[name]] == ["train"]


@pytest.mark.parametrize("kind", ["table", "unified"])
def test_a_folder_of_parquet_files_can_be_prepared_and_is_told_apart(
    kind: str, tmp_path: Path
) -> None:
    folder = parquet(tmp_path / "set", "data/train-0.parquet", "data/test-0.parquet")
    made = prepare(preparation(None, [f"{kind}:{folder}"], Path("out")))
    assert {e.split: e.text for e in made.examples} == {
        split: f"post of data/{split}-0.parquet" for split in ("train", "test")
    }
    prepare(preparation(None, [f"{kind}:{folder}/train"], Path("train")))
    parquet(folder, "data/train-0.parquet", label=["normal"])
    for source, out in ((folder, "out"), (folder / "train", "train")):
        with pytest.raises(PreflightError, match="differs in sources"):
            prepare(preparation(None, [f"{kind}:{source}"], Path(out)))


def test_parquet_files_of_other_columns_are_no_table(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", "train.parquet")
    parquet(folder, "test.parquet", more=[1])
    with pytest.raises(
        DataError, match=r"train.parquet: column 'more' is in this file or in .*bot"
    ):
        read_rows(folder)


def test_a_damaged_file_in_a_folder_is_named(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", "train.parquet", "test.parquet")
    (folder / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        DataError, match=r"set/test.parquet: not Parquet .*; copy or download it ag"
    ):
        read_rows(folder)


@pytest.mark.parametrize("header", ["tweet,class", "Comment Text,is_toxic", "body,verdict"])
def test_columns_that_hsd_does_not_know_are_answered_with_the_options(
    header: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"{header}\nsoup,1\n")
    text, label = (repr(name) if " " in name else name for name in header.split(","))
    with pytest.raises(DataError) as error:
        load_posts(path)
    assert str(error.value).endswith(
        f"add --text-column {text} --label-column {label}, or run `hsd prepare --source "
        f"table:{path}` with them."
    )


def test_columns_in_one_option_are_answered_with_how_to_write_them(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,a,b\nsoup,1,1\n")
    with pytest.raises(DataError, match="no column 'a,b'. Write --label-column before each colum"):
        load_posts(path, Columns(label="a,b"))


def test_chats_have_no_columns_to_name(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": []}\n')
    with pytest.raises(DataError, match=r"holds chats \(`messages`\), which name no columns"):
        load_posts(path, Columns())


OWN = "body,verdict\n" + "".join(
    f"{word} {other} {n},{'mean' if n % 2 else 'kind'}\n"
    for n, (word, other) in enumerate(
        (a, b) for a in ("soup", "rain", "moss", "clay") for b in ("lamp", "gate", "boat", "drum")
    )
)
OPTIONS = ["--text-column", "body", "--label-column", "verdict"]
MEANINGS = ["--labels", "hate=mean", "normal=kind"]
UNKNOWN = "16 of 16 rows cannot be used: 16 rows (own.csv:2, own.csv:3, own.csv:4, ...): unknown la"


def test_the_options_of_a_table_are_alike_in_all_commands_and_configs() -> None:
    assert tuple(TableConfig.model_fields) == NAMES
    for command in (prepare_command, check_command, swap_command, evaluate_command):
        options = {p.name: p for p in command.params if isinstance(p, click.Option)}
        assert {name: options[name].opts for name in NAMES} == {
            name: [f"--{name.replace('_', '-')}"] for name in NAMES
        }


@pytest.mark.parametrize(
    "command", ["prepare", "check", pytest.param("evaluate", marks=pytest.mark.model)]
)
def test_a_label_without_a_meaning_ends_each_command_before_a_model_is_looked_for(
    command: str,
) -> None:
    Path("own.csv").write_text(OWN)
    how: dict[str, tuple[click.Command, list[str]]] = {
        "prepare": (prepare_command, ["--source", "table:own.csv", "--output-dir", "out"]),
        "check": (check_command, ["own.csv"]),
        "evaluate": (
            evaluate_command,
            ["--model-name", "nobody/nothing", "--data-file", "own.csv"],
        ),
    }
    one, arguments = how[command]
    result = CliRunner().invoke(one, [*arguments, *OPTIONS])
    said = result.output if command == "check" else str(result.exception)
    assert "unknown labels in 'verdict': 'kind' (8 rows), 'mean' (8 rows): say what every" in said
    assert command == "check" or said.startswith(UNKNOWN)
    assert sorted(path.name for path in Path().iterdir() if path.is_dir()) == []


def test_several_meanings_may_follow_one_option_and_files_come_after() -> None:
    Path("own.csv").write_text(OWN)
    for arguments in (
        ["own.csv", *OPTIONS, *MEANINGS],
        [*OPTIONS, *MEANINGS, "--strict", "own.csv"],
        ["own.csv", *OPTIONS, "--labels", "hate=mean normal=kind"],
        ["own.csv", *OPTIONS, "--labels", "hate=mean", "--labels", "normal=kind"],
        ["own.csv", *OPTIONS, "--labels=hate=mean", "normal=kind"],
    ):
        result = CliRunner().invoke(check_command, arguments, catch_exceptions=False)
        assert "16 rows.\nNothing was found.\n" in result.output


@pytest.mark.model
def test_named_data_sets_have_no_columns_to_name() -> None:
    arguments = ["--model-name", "nobody/nothing", "--data-file", "embedded", *OPTIONS]
    said = str(CliRunner().invoke(evaluate_command, arguments).exception)
    assert said.startswith("columns and labels are named, but no file of your own: the data sets")


def test_a_config_of_an_older_hsd_is_the_same_run() -> None:
    """Identities are compared key by key, and a key that one lacks is null."""
    assert set(TableConfig().model_dump().values()) == {None}
    assert differences({"data": {}}, {"data": TableConfig().model_dump(mode="json")}) == []


def test_groups_are_swapped_in_a_table_too() -> None:
    Path("own.csv").write_text("body,verdict\nmy gay friend sang,kind\n")
    arguments = ["own.csv", "swapped.jsonl", *OPTIONS, *MEANINGS]
    result = CliRunner().invoke(swap_command, arguments, catch_exceptions=False)
    assert "1 of 1 post names one group" in result.output


def own_preparation(**table: Any) -> Preparation:
    Path("own.csv").write_text(OWN)
    columns = {"text_column": "body", "label_column": "verdict", **table}
    return preparation(None, ["table:own.csv"], Path("out"), table=columns)


def test_preparations_with_other_meanings_are_told_apart() -> None:
    prepare(own_preparation(labels="hate=mean normal=kind"))
    prepare(own_preparation(labels="normal=kind hate=mean"))
    with pytest.raises(
        PreflightError, match=r"differs in reading.columns.labels.kind: \"normal\" "
    ):
        prepare(own_preparation(labels="normal=mean hate=kind"))


def test_a_folder_that_an_older_hsd_prepared_is_still_its_own() -> None:
    prepare(own_preparation(labels="hate=mean normal=kind"))
    identity = read_object(Path("out/identity.json"))
    for newer in ("cut", "votes"):
        del identity["reading"]["columns"][newer]
    write_json(Path("out/identity.json"), identity)
    prepare(own_preparation(labels="hate=mean normal=kind"))


@pytest.mark.model
def test_training_reads_a_table_as_its_config_says() -> None:
    Path("own.csv").write_text(OWN)
    asked = ["data.train_file=own.csv", "data.text_column=body", "data.label_column=verdict"]
    config = load_train_config(overrides=asked)
    source, contract = training_rows(config), prompt_contract()
    with pytest.raises(DataError) as error:
        list(source.lessons(contract))
    assert str(error.value).startswith(UNKNOWN)
    assert str(error.value).endswith(
        "For `hsd train` --labels VALUE is --set data.labels=VALUE, and so on."
    )
    config = load_train_config(overrides=[*asked, "data.labels=hate=mean normal=kind"])
    lessons = list(training_rows(config).lessons(contract))
    assert [lesson.label for lesson in lessons] == ["normal", "hate"] * 8


@pytest.mark.model
def test_training_says_which_rows_were_left_out() -> None:
    Path("own.csv").write_text(OWN)
    asked = ["data.train_file=own.csv", "data.text_column=body", "data.label_column=verdict"]
    config = load_train_config(overrides=[*asked, "data.labels=hate=mean drop=kind"])
    source = training_rows(config)
    assert len(list(source.lessons(prompt_contract()))) == 8
    assert (
        "own.csv: 8 of 16 rows are left out: label 'kind' is dropped as asked (8)." in source.notes
    )


def training_rows(config: TrainConfig) -> Any:
    from hsd.training.training_files import RowSource

    return RowSource.of(config, "train")


def prompt_contract() -> Any:
    from hsd.prompts.contract import make_contract
    from hsd.prompts.template import load_template

    return make_contract(load_template("baseline"), "standard")


def test_a_config_says_of_a_table_what_the_options_say() -> None:
    columns = columns_in(
        TableConfig(
            text_column="body", label_column=("a", "b"), labels="hate=x normal=y", votes=0.3
        )
    )
    assert columns == Columns("body", ("a", "b"), labels={"x": "hate", "y": "normal"}, votes=0.3)
    assert columns_in(TableConfig()) is None
