"""The share of annotators who said hate: where it is read, what it survives, what is said of it."""

import json
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from small_runs import jsonl

from hsd.data.data_check import check_data
from hsd.data.data_sets import load_named
from hsd.data.duplicates import find_pairs, leaks
from hsd.data.hatexplain import Offensive, converter
from hsd.data.identity_swap import swaps
from hsd.data.loaded_file import Bad, LeftOut, example_of, load, require_clean
from hsd.data.own_table import load_table
from hsd.data.posts import read_posts
from hsd.data.prepare import prepare
from hsd.data.prepared_data import preparation
from hsd.data.read_rows import Row
from hsd.data.table_columns import Columns
from hsd.data.unified import READS, convert, to_row
from hsd.errors import DataError
from hsd.example import Example, Label

VOTES = {"h": "hatespeech", "o": "offensive", "n": "normal"}


def official(votes: str, words: str = "rain ruins every picnic", post: str = "1") -> dict[str, Any]:
    """Return a row of HateXplain's own form: `hhn` are three votes."""
    annotators = [{"label": VOTES[vote], "target": ["None"]} for vote in votes]
    return {
        "post_id": post,
        "annotators": annotators,
        "rationales": [],
        "post_tokens": words.split(),
    }


def voted(votes: str, offensive: Offensive = "normal") -> Any:
    return example_of(converter(offensive), Row(official(votes), "dataset.json:1"))


def unified(share: Any, label: Label = "hate") -> Any:
    return example_of(convert, Row({"text": "a post", "label": label, "hate_share": share}, "f:1"))


# Where it comes from


@pytest.mark.parametrize(
    ("votes", "offensive", "share"),
    [
        ("hhn", "normal", 2 / 3),
        ("hho", "normal", 2 / 3),
        ("nno", "normal", 0.0),
        ("ooh", "normal", 1 / 3),
        ("ooh", "hate", 1.0),
        ("oon", "hate", 2 / 3),
        ("nno", "hate", 1 / 3),
        ("hho", "drop", 2 / 3),  # who said `offensive` did not say hate
        ("hhh", "drop", 1.0),
    ],
)
def test_the_share_is_of_all_votes_those_that_say_what_counts_as_hate(
    votes: str, offensive: Offensive, share: float
) -> None:
    assert voted(votes, offensive).hate_share == share


@pytest.mark.parametrize("offensive", ["normal", "hate", "drop"])
def test_the_share_of_hatexplains_votes_is_always_on_the_side_of_their_majority(
    offensive: Offensive,
) -> None:
    made = [voted(a + b + c, offensive) for a in "hon" for b in "hon" for c in "hon"]
    kept = [one for one in made if not isinstance(one, LeftOut)]
    assert len(kept) > 10
    assert all((one.hate_share > 0.5) == (one.label == "hate") for one in kept)


@pytest.mark.parametrize("cell", [0.25, "0.25", " 0.25 ", "25e-2", Decimal("0.25")])
def test_a_share_is_read_however_its_cell_is_written(cell: Any) -> None:
    assert unified(cell).hate_share == 0.25


@pytest.mark.parametrize("cell", [0, 1, "0", "1.0"])
def test_a_share_may_be_0_or_1_and_0_is_not_absent(cell: Any) -> None:
    assert unified(cell).hate_share == float(cell)


@pytest.mark.parametrize("cell", [None, "", "  ", float("nan")])
def test_a_blank_is_no_share(cell: Any) -> None:
    assert unified(cell).hate_share is None
    made = example_of(convert, Row({"text": "a post", "label": "hate"}, "f:1"))
    assert isinstance(made, Example)
    assert made.hate_share is None


@pytest.mark.parametrize(
    "cell",
    [1.01, -0.01, "67", "67 %", "0,67", "2/3", "nan", "inf", float("inf"), True, [0.5], 10**400],
)
def test_what_is_no_share_makes_a_bad_row_that_says_what_is_expected(cell: Any) -> None:
    made = unified(cell)
    assert isinstance(made, Bad)
    assert made.reason.startswith("'hate_share' is ")
    assert made.reason.endswith("; expected a number from 0 to 1, such as 0.67")
    assert "\n" not in made.reason


def test_a_wrong_share_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text("text,label,hate_share\na post,hate,0.7\nanother,normal,\na third,hate,7\n")
    with pytest.raises(DataError, match=r"posts\.csv:4: 'hate_share' is '7'; expected a number"):
        load_named(str(path))


def test_a_tables_share_column_is_read_under_its_own_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("text,label,said_hate\nsoup,normal,0.25\nrain,normal,\n")
    found = require_clean(load_table(path, Columns(share="said_hate")))
    assert [e.hate_share for e in found] == [0.25, None]
    assert [e.hate_share for e in load_table(path, Columns()).examples] == [None, None]
    with pytest.raises(DataError, match="no column 'said_hat'. Did you mean 'said_hate'?"):
        load_table(path, Columns(share="said_hat"))


@pytest.mark.parametrize(
    ("column", "columns", "call_it"),
    [("hate_share", Columns(), ""), ("share hate", None, "call it hate_share, or ")],
)
def test_a_column_that_looks_like_a_share_and_is_not_read_is_told(
    column: str, columns: Columns | None, call_it: str, tmp_path: Path
) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(f"text,label,{column}\nsoup,normal,0.25\n")
    loaded = load_table(path, columns) if columns else load(path, convert, READS)
    assert loaded.unread == [
        f"'{column}' looks like the share of annotators who said hate; {call_it}name it with "
        f"--share-column {shlex.quote(column)} (`hsd prepare` needs --source table:FILE too)"
    ]
    assert load_table(path, Columns(share=column)).unread == []


# What it survives


@pytest.mark.parametrize("share", [None, 0.0, 1 / 3, 1.0])
def test_a_written_row_reads_back_with_its_share(share: float | None) -> None:
    example = Example(id="e", text="a post", label="hate", hate_share=share)
    row = json.loads(json.dumps(to_row(example)))
    assert ("hate_share" in row) == (share is not None)
    assert example_of(convert, Row(row, "f:1")) == example


def prepared(folder: Path, votes: list[str]) -> dict[str, float | None]:
    """Prepare posts with these votes; return the share of each training chat by its id."""
    words = ["the soup is warm", "rain ruins a picnic", "my bicycle needs oil", "trains run late"]
    rows = {str(n): official(v, words[n], str(n)) for n, v in enumerate(votes)}
    (folder / "votes.json").write_text(json.dumps(rows))
    (folder / "post_id_divisions.json").write_text(json.dumps({"train": list(rows)}))
    job = preparation(None, [f"hatexplain:{folder / 'votes.json'}"], folder / "out")
    prepare(job)
    chats = (folder / "out" / "train.jsonl").read_text().splitlines()
    return {row["id"]: row.get("hate_share") for row in map(json.loads, chats)}


def test_prepared_chats_and_splits_have_the_share_of_their_posts(tmp_path: Path) -> None:
    expected = {"0": 2 / 3, "1": 0.0, "2": 1.0, "3": 1 / 3}
    assert prepared(tmp_path, ["hhn", "nno", "hhh", "nnh"]) == expected
    out = tmp_path / "out"
    posts = load_named(str(out / "unified" / "train.jsonl")).examples
    assert {e.id: e.hate_share for e in posts} == expected
    chats = read_posts([out / "train.jsonl"]).examples
    assert {e.id: e.hate_share for e in chats} == expected
    notes = json.loads((out / "stats.json").read_text())["notes"]
    assert notes == ["4 of 4 posts have the share of annotators who said hate."]


def test_a_chat_with_a_wrong_share_is_told_with_its_line(tmp_path: Path) -> None:
    prepared(tmp_path, ["hhn", "nno", "hhh", "nnh"])
    path = tmp_path / "out" / "train.jsonl"
    path.write_text(path.read_text().replace('"hate_share": 1.0', '"hate_share": "most"'))
    (bad,) = read_posts([path]).bad_chats
    assert bad.place.startswith(f"{path}:")
    assert bad.reason.startswith("'hate_share' is 'most'")


def test_duplicates_and_leaks_do_not_look_at_shares() -> None:
    rows = [
        Example(id=f"{n}", text="the soup is warm", label="normal", split=split, hate_share=share)
        for n, (split, share) in enumerate([("train", 0.0), ("test", 1 / 3), ("train", None)])
    ]
    pairs = find_pairs([e.text for e in rows])
    bare = [Example(id=e.id, text=e.text, label=e.label, split=e.split) for e in rows]
    assert leaks(rows, pairs) == leaks(bare, pairs)
    assert len(leaks(rows, pairs)) == 2


def test_nobody_voted_on_a_post_about_another_group() -> None:
    post = Example(id="e", text="a gay man sings", label="normal", hate_share=1 / 3)
    own, *others = swaps([post])
    assert own.hate_share == 1 / 3
    assert others
    assert all(other.hate_share is None for other in others)


# What is said of it


def checked(folder: Path, shares: list[float | None]) -> Any:
    labels = ("hate", "normal")
    words = ["the soup is warm", "rain ruins a picnic", "my bicycle needs oil", "trains run late"]
    rows = [
        {"id": f"e{n}", "text": words[n], "label": labels[n % 2], "hate_share": share}
        for n, share in enumerate(shares)
    ]
    return check_data([jsonl(folder / "train.jsonl", rows)])


def test_a_check_counts_the_posts_that_have_a_share(tmp_path: Path) -> None:
    said = "3 of 4 posts have the share of annotators who said hate."
    assert checked(tmp_path, [1.0, 0.0, None, 0.5]).notes == (said,)
    assert checked(tmp_path, [None] * 4).notes == ()


def test_a_check_warns_of_shares_on_the_other_side_of_their_label(tmp_path: Path) -> None:
    reversed_column = checked(tmp_path, [0.0, 1.0, 0.5, 0.5])  # an even vote takes no side
    (found,) = reversed_column.findings
    assert (found.severity, found.count) == ("warning", 2)
    assert found.what == "posts whose hate_share says another label"
    assert [place.rpartition("/")[2] for place in found.places] == [
        "train.jsonl:1",
        "train.jsonl:2",
    ]
    assert checked(tmp_path, [0.6, 0.4, None, 0.0]).findings == ()
