"""Labels as people have them: flags, names, scores, votes. None is guessed."""

import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from label_maps import labels_of

from hsd.data.label_names import denies_hate
from hsd.data.loaded_file import Bad, LeftOut, listed
from hsd.data.own_labels import RowLabel, row_label
from hsd.data.own_table import load_table
from hsd.data.source_formats import load_posts
from hsd.data.table_columns import Columns, columns_of
from hsd.data.vote_shares import NO_MAJORITY
from hsd.errors import ConfigError, DataError

NAMED = {"kind": "hate", "rude": "hate", "fine": "normal", "unclear": "drop"}
MAP: Any = {"labels": NAMED}
CUT: Any = {"cut": 0.5}


def said(cell: Any, **columns: Any) -> RowLabel | Bad | LeftOut:
    return row_label({"label": cell}, Columns(**columns))


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        (True, "hate"), (False, "normal"), ("TRUE", "hate"), ("False", "normal"),
        (1, "hate"), (0, "normal"), (1.0, "hate"), (0.0, "normal"), ("1.0", "hate"),
        ("toxic", "hate"), ("non-toxic", "normal"), ("Not Toxic", "normal"), ("Hateful", "hate"),
    ],
)  # fmt: skip
def test_a_label_that_hsd_knows_needs_no_map(cell: Any, label: str) -> None:
    found = said(cell)
    assert isinstance(found, RowLabel)
    assert (found.label, found.share) == (label, None)


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        (0.5, "hate"),
        ("0.5", "hate"),
        (0.49, "normal"),
        (1, "hate"),
        ("-3", "normal"),
        ("1e3", "hate"),
    ],
)
def test_a_score_is_hate_from_the_cut_on(cell: Any, label: str) -> None:
    assert said(cell, **CUT) == RowLabel(label)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["high", "0,5", True, [0.9, "high"]])
def test_what_is_no_number_is_no_score(cell: Any) -> None:
    found = said(cell, **CUT)
    assert isinstance(found, Bad)
    assert found.reason.endswith(
        "expected numbers such as 0.73, since --cut is given; for names give --labels"
    )


VOTES = {
    "two of three": (["hate", "normal", "hate"], {}, RowLabel("hate", 2 / 3)),
    "one of three": ([1, 0, 0], {}, RowLabel("normal", 1 / 3)),
    "one vote": (["hate"], {}, RowLabel("hate", 1.0)),
    "a blank vote": (["hate", None, ""], {}, RowLabel("hate", 1.0)),
    "printed in a cell": ("['hate', 'normal', 'normal']", {}, RowLabel("normal", 1 / 3)),
    "a tie": (["hate", "normal"], {}, LeftOut(NO_MAJORITY)),
    "a tie that a share decides": ([1, 0], {"votes": 0.5}, RowLabel("hate", 0.5)),
    "below the share": ([1, 0, 0], {"votes": 0.5}, RowLabel("normal", 1 / 3)),
    "scores": ([0.9, 0.1, 0.6], CUT, RowLabel("hate", 2 / 3)),
    "named": (["rude", "kind", "fine"], MAP, RowLabel("hate", 2 / 3)),
    "dropped": (
        ["unclear", "unclear", "rude"],
        MAP,
        LeftOut("most votes are for a label that is dropped as asked"),
    ),
    "no majority with a dropped vote": (["unclear", "fine", "rude"], MAP, LeftOut(NO_MAJORITY)),
    "no vote": ([], {}, Bad("no label in 'label'")),
    "objects": (
        [{"by": "a", "label": "hate"}],
        {},
        Bad(
            "'label' holds objects or lists of lists; expected a label, or a list such as "
            '["hate", "normal"]'
        ),
    ),
}


@pytest.mark.parametrize("case", VOTES)
def test_votes_make_the_label_that_more_than_half_say_or_a_stated_share(case: str) -> None:
    cell, columns, expected = VOTES[case]
    assert said(cell, **columns) == expected


def test_columns_of_annotators_are_votes_and_blanks_are_none() -> None:
    columns = Columns(label=("a", "b", "c"))
    assert row_label({"a": 1, "b": "", "c": 0}, columns) == LeftOut(NO_MAJORITY)
    assert row_label({"a": 1, "b": None, "c": 1}, columns) == RowLabel("hate", 1.0)
    assert row_label({"a": "", "b": None}, columns) == Bad("no label in 'a', 'b', 'c'")


@pytest.mark.parametrize(("hates", "of", "share"), [(3, 10, 0.3), (7, 10, 0.7), (1, 10, 0.1)])
def test_a_share_of_votes_is_compared_as_people_count(hates: int, of: int, share: float) -> None:
    votes = [1] * hates + [0] * (of - hates)
    assert said(votes, votes=share) == RowLabel("hate", hates / of)
    assert said([*votes, 0], votes=share) == RowLabel("normal", hates / (of + 1))


def test_a_dropped_label_leaves_its_row_out() -> None:
    assert said("unclear", **MAP) == LeftOut("label 'unclear' is dropped as asked")


DENYING = """
    non_toxic Benign is_normal neither safe is_safe IS-SAFE isSafe clean acceptable label_ok
    non_offensive nonoffensive non-offensive NonOffensive nonabusive not_abusive is_not_offensive
    not_rude non_harmful no_toxicity hate_free toxicity-free harmfree spam_free is_harmless
"""


@pytest.mark.parametrize("column", ["not hate", *DENYING.split()])
def test_a_flag_in_a_column_called_after_what_is_normal_is_not_guessed(column: str) -> None:
    for flag, yes in ((1, "1"), (False, "true"), ("no", "yes")):
        found = row_label({column: flag}, Columns(label=column))
        assert isinstance(found, Bad)
        assert f"normal={yes}" in found.reason
        assert "1 may mean normal here; say which" in found.reason
    named = Columns(label=column, labels=labels_of(labels="hate=0 normal=1"))
    assert row_label({column: 1}, named) == RowLabel("normal", name="1")


SAYING = """
    label is_hate toxic hate_speech no class unsafe is_unsafe not_safe notsafe non_acceptable
    offensive abusive notes notable nonsense free free_text hate_or_not toxic_or_non_toxic unclean
"""


@pytest.mark.parametrize("column", SAYING.split())
def test_other_columns_of_flags_are_read(column: str) -> None:
    assert not denies_hate(column)
    assert row_label({column: 1}, Columns(label=column)) == RowLabel("hate", name="1")


def table(folder: Path, labels: list[Any], name: str = "own.csv") -> Path:
    path = folder / name
    rows = [{"text": f"post {n}", "label": label} for n, label in enumerate(labels)]
    if path.suffix == ".csv":
        pandas.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


LISTED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "names": (
        ["abusive", "hate", "abusive", "spam"],
        {},
        "unknown labels in 'label': 'abusive' (2 rows), 'spam' (1 row): say what every label in",
    ),
    "a map that lacks some": (
        ["abusive", "hate", "abusive", "spam"],
        {"labels": {"spam": "drop"}},
        "'abusive' (2 rows), 'hate' (1 row): not named in --labels; name every label in use there",
    ),
    "scores": (
        [0.2, 0.75],
        {},
        "'0.2' (1 row), '0.75' (1 row): if labels are scores, say from which on a post is hate, "
        "such as --cut 0.5",
    ),
    "codes": (
        [2, 2, 0, 3],
        {},
        "'2' (2 rows), '3' (1 row): say what every code in use means, such as --labels hate=1,2",
    ),
    "votes in text": (
        ["1;0;1", "hate, normal"],
        {},
        "if they are several annotators' labels, write a list, such as",
    ),
    "posts": (
        [f"this is post number {n}" for n in range(14)],
        {},
        "14 different texts in 'label': is this the column of the post?",
    ),
    "many": (
        [f"kind {n}" for n in range(14)],
        {},
        "'kind 11' (1 row) and 2 others: say what every label in use means",
    ),
}


@pytest.mark.parametrize("case", LISTED)
def test_labels_that_are_not_mapped_are_listed_with_their_counts(case: str, tmp_path: Path) -> None:
    labels, columns, expected = LISTED[case]
    said = listed(load_table(table(tmp_path, labels), Columns(**columns)).bad)
    assert expected in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl"])
def test_votes_in_a_column_that_is_not_named_are_answered_with_the_option(
    name: str, tmp_path: Path
) -> None:
    path = table(tmp_path, [["hate", "normal", "hate"], ["normal"]], name)
    said = listed(load_posts(path).bad)
    assert "for the labels of several annotators name the column: --label-column label" in said
    assert [e.label for e in load_posts(path, Columns()).examples] == ["hate", "normal"]


NOTES: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "a cut that no score reaches": (
        [0.2, 0.75],
        {"cut": 7},
        "0 of 2 posts are hate (is the cut in the scores' own range?).",
    ),
    "a cut": ([0.2, 0.75], {"cut": 0.5}, "a post is hate where 'label' is at least 0.5: 1 of 2 "),
    "votes": (
        ["[1, 1, 0]", "[0]"],
        {},
        "votes of annotators are in 'label'; the label is what more than half say: 1 of 2 posts",
    ),
    "a share of votes": (
        ["[1, 1, 0]", "[0]"],
        {"votes": 0.3},
        "a post is hate where at least 0.3 of the votes say so: 1 of 2 posts are hate.",
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_how_labels_were_made_is_said_with_counts(case: str, tmp_path: Path) -> None:
    labels, columns, expected = NOTES[case]
    (note,) = load_table(table(tmp_path, labels), Columns(**columns)).notes
    assert expected in note


def test_a_share_of_votes_without_votes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--votes is given, but 'label' holds one label a row; na"):
        load_table(table(tmp_path, [1, 0]), Columns(votes=0.3))


def test_a_score_in_short_floats_is_the_number_that_was_written(tmp_path: Path) -> None:
    rows = pandas.DataFrame({"text": ["a", "b", "c"], "label": [0.7, 0.69, None]})
    rows.astype({"label": "float32"}).to_parquet(tmp_path / "a.parquet")
    loaded = load_table(tmp_path / "a.parquet", Columns(cut=0.7))
    assert [example.label for example in loaded.examples] == ["hate", "normal"]
    assert [row.reason for row in loaded.bad] == ["no label in 'label'"]


def test_a_map_is_read_as_it_is_typed() -> None:
    assert labels_of(labels="hate=hatespeech,offensive normal=normal") == {
        "hatespeech": "hate", "offensive": "hate", "normal": "normal",
    }  # fmt: skip
    assert labels_of(labels='hate=hate speech, "a, b" drop=-1  normal=no') == {
        "hate speech": "hate", "a, b": "hate", "-1": "drop", "no": "normal",
    }  # fmt: skip
    assert labels_of(labels="hate=a hate=b") == {"a": "hate", "b": "hate"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toxic=hate", "labels 'toxic=hate': expected hate=NAME,NAME normal=NAME .* as hate=toxic"),
        ("hate=", r"labels 'hate=': expected"),
        ("offensive", r"labels 'offensive': expected"),
        ("hate=1 normal=1.0", "labels 'normal=1.0': '1.0' is named both hate and normal; give it"),
    ],
)
def test_a_map_that_says_nothing_or_two_things_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        labels_of(labels=text)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cut": 0.5, "labels": "hate=a normal=b"}, "labels and cut: a column of labels holds nam"),
        (
            {"label": ["a=hate"], "labels": "normal=a,b"},
            "labels 'normal=a,b': 'a' is named both hate and normal; give it one meaning",
        ),
        ({"cut": float("nan")}, "cut: nan is no score; expected a number, such as 0.5"),
        ({"label_column": ["a", "a"]}, "label_column: 'a' is named twice"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        columns_of(**options)


def test_options_that_say_nothing_are_no_table() -> None:
    assert columns_of() is None
    assert columns_of(label_column=[], labels=None) is None
    assert columns_of(votes="majority") == Columns()
