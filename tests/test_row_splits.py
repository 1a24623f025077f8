"""Rows that say which split or source they are of, and what else a run says of its files."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs
from small_runs import jsonl, posts

from hsd.config.train_config import TrainConfig
from hsd.errors import DataError
from hsd.prompts.chat import chat_messages
from hsd.prompts.contract import make_contract
from hsd.prompts.template import load_template
from hsd.training.dataset import TrainingRows, learned_posts, load_training_rows
from hsd.training.training_run import train

pytestmark = pytest.mark.model

STANDARD = make_contract(load_template("baseline"), "standard")
Row = dict[str, Any]
Load = Callable[..., TrainingRows]


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Give `config(train=rows, validation=rows, **data)`, with the rows in files."""

    def made(train: list[Row], validation: list[Row] | None = None, **data: Any) -> TrainConfig:
        if validation is not None:
            data["validation_file"] = str(jsonl(tmp_path / "validation.jsonl", validation))
        settings: TrainConfig = small_runs.config(tiny_llama, tmp_path, validation=0, data=data)
        jsonl(Path(settings.data.train_file), train)
        return settings

    return made


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture
def load(config: Callable[..., TrainConfig], tokenizer: Any) -> Load:
    return lambda *rows, **data: load_training_rows(config(*rows, **data), tokenizer)


def of(split: str, rows: list[Row]) -> list[Row]:
    return [row | {"split": split} for row in rows]


def chats(rows: list[Row]) -> list[Row]:
    """Return posts as `hsd prepare` writes them, with the split that they had."""
    return [
        {"id": row["id"], "split": row.get("split"),
         "source_dataset": row.get("source_dataset", ""),
         "messages": chat_messages(STANDARD.strategy, row["text"], row["label"])}
        for row in rows
    ]  # fmt: skip


def ids(rows: list[Any]) -> list[str]:
    return [row.id for row in rows]


@pytest.mark.parametrize("as_chats", [False, True])
@pytest.mark.parametrize(
    "split", ["test", "validation", "TEST", "testing", "val", "dev", "test_2", "held-out"]
)
def test_a_training_row_that_says_another_split_is_refused_in_one_line(
    load: Load, split: str, as_chats: bool
) -> None:
    rows = [*posts(4), *of(split, posts(6)[4:])]
    with pytest.raises(DataError) as refused:
        load(chats(rows) if as_chats else rows)
    said = str(refused.value)
    assert "2 of 6 rows say themselves that they are of another split than train: 2 " in said
    assert "(train.jsonl:5, train.jsonl:6)" in said
    assert "data.other_splits=leave_out" in said
    assert "\n" not in said


@pytest.mark.parametrize("split", ["train", "Training", "TRAIN", "train_2", "", None])
def test_rows_that_say_train_or_nothing_are_learned(load: Load, split: str) -> None:
    rows = load(of(split, posts(4)))
    assert (len(rows.train), rows.notes) == (4, ())


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_validation_row_that_says_train_or_test_is_refused(load: Load, split: str) -> None:
    with pytest.raises(DataError, match=f"of another split than validation: 2 {split} "):
        load(posts(4), of(split, posts(2, first=100)))


@pytest.mark.parametrize("as_chats", [False, True])
@pytest.mark.parametrize("limit", [None, 4])
def test_one_file_serves_both_when_other_splits_are_left_out_and_counted(
    load: Load, as_chats: bool, limit: int | None
) -> None:
    every = [*of("train", posts(6)), *of("dev", posts(10)[6:]), *of("test", posts(13)[10:])]
    every = chats(every) if as_chats else every
    rows = load(every, every, other_splits="leave_out", max_train_rows=limit)
    assert set(ids(rows.train)) <= set(ids_of(posts(6)))
    assert len(rows.train) == (limit or 6)
    assert ids(rows.validation) == ids_of(posts(10)[6:])
    first, second = rows.notes
    assert "train.jsonl: 7 of 13 rows say" in first
    assert "4 validation (train.jsonl:7, train.jsonl:8, train.jsonl:9, ...), 3 test (" in first
    assert "9 of 13 rows" in second
    assert second.endswith("; they are left out.")


def ids_of(rows: list[Row]) -> list[str]:
    return [row["id"] for row in rows]


def test_when_no_row_is_left_the_run_is_refused(load: Load) -> None:
    with pytest.raises(DataError, match=r"4 of 4 rows .* so none is left"):
        load(of("test", posts(4)), other_splits="leave_out")


def test_what_was_left_out_was_not_learned_and_what_an_older_run_took_was(
    config: Callable[..., TrainConfig],
) -> None:
    rows = [*posts(4), *of("test", posts(6)[4:])]
    left_out = config(rows, other_splits="leave_out")
    assert len(list(learned_posts(left_out, STANDARD))) == 4
    assert len(list(learned_posts(config(rows), STANDARD))) == 6


def from_(source: str, rows: list[Row]) -> list[Row]:
    return [row | {"source_dataset": source} for row in rows]


@pytest.mark.parametrize("as_chats", [False, True])
@pytest.mark.parametrize("limit", [None, 4])
def test_a_source_that_is_left_out_is_neither_learned_nor_watched(
    load: Load, as_chats: bool, limit: int | None
) -> None:
    learned = [*from_("forum", posts(6)), *from_("chat", posts(10)[6:])]
    watched = [*from_("forum", posts(14)[10:]), *from_("chat", posts(16)[14:])]
    files = [chats(rows) if as_chats else rows for rows in (learned, watched)]
    rows = load(*files, without_sources=["chat"], max_train_rows=limit)
    assert set(ids(rows.train)) <= set(ids_of(posts(6)))
    assert len(rows.train) == (limit or 6)
    assert ids(rows.validation) == ids_of(posts(14)[10:])
    assert rows.notes[0].endswith("train.jsonl: left out by source: 4 chat of 10 rows.")


def test_a_source_that_is_left_out_was_not_learned_by_a_baseline_either(
    config: Callable[..., TrainConfig],
) -> None:
    rows = [*from_("forum", posts(4)), *from_("chat", posts(6)[4:])]
    left_out = config(rows, without_sources=["chat"])
    assert len(list(learned_posts(left_out, STANDARD))) == 4


@pytest.mark.parametrize(
    ("without", "said"),
    [
        (["forums"], r"names 'forums', which no row is of; sources here: chat, forum\.$"),
        (["forum", "chat"], r"no row is left without forum, chat\.$"),
    ],
)
def test_a_source_that_is_not_there_and_all_sources_are_refused(
    load: Load, without: list[str], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load([*from_("forum", posts(4)), *from_("chat", posts(6)[4:])], without_sources=without)


def test_rows_that_say_no_source_cannot_be_parted_by_it(load: Load) -> None:
    with pytest.raises(DataError, match="sources here: none, rows have no 'source_dataset'"):
        load(posts(4), without_sources=["forum"])


@pytest.mark.parametrize("as_chats", [False, True])
def test_rows_of_one_label_are_said(load: Load, as_chats: bool) -> None:
    hate = [row for row in posts(8) if row["label"] == "hate"]
    rows = load(chats(hate) if as_chats else hate, posts(3, first=101)[1:2])
    one, other = rows.notes
    assert one.endswith(
        "train.jsonl: all 4 rows are hate: the adapter learns to answer hate whatever a post says. "
        "Add normal rows."
    )
    assert "validation.jsonl: its only row is normal" in other
    assert load(posts(8)).notes == ()


@pytest.mark.parametrize("as_chats", [False, True])
def test_a_column_of_groups_that_is_not_read_is_said_in_terminal_and_log(
    config: Callable[..., TrainConfig], as_chats: bool
) -> None:
    rows = chats(posts(8)) if as_chats else posts(8)
    settings = config([row | {"target": "gay"} for row in rows])
    said: list[str] = []
    train(settings, say=said.append)
    (line,) = [line for line in said if line.startswith("Warning: ")]
    assert (
        "train.jsonl: a column is not read: 'target' looks like the group that posts are about"
        in line
    )
    log = (settings.output_dir / "training.log").read_text()
    assert log.count(line.removeprefix("Warning: ")) == 1
    assert logging.getLogger("hsd").handlers == []
