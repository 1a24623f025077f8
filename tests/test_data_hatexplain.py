"""HateXplain: three votes become one label, majority targets, a majority rationale."""

import json
from pathlib import Path
from typing import Any

import pytest

from hsd.data.hatexplain import (
    DIVISIONS,
    Offensive,
    converter,
    load_hatexplain,
    majority_rationale,
    majority_targets,
)
from hsd.data.loaded_file import Bad, LeftOut, example_of
from hsd.data.read_rows import Row
from hsd.data.vote_shares import majority_label
from hsd.errors import DataError
from hsd.example import Example

WORDS = ["rain", "ruins", "every", "picnic"]


def post(votes: str, targets: list[list[str]] | None = None, **values: Any) -> Row:
    names = {"h": "hatespeech", "o": "offensive", "n": "normal"}
    named = targets or [["None"]] * len(votes)
    annotators = [
        {"label": names[vote], "annotator_id": number, "target": target}
        for number, (vote, target) in enumerate(zip(votes, named, strict=True))
    ]
    row = {"post_id": "1_gab", "annotators": annotators, "rationales": [], "post_tokens": WORDS}
    return Row(row | values, "dataset.json:1")


def example(votes: str, offensive: Offensive = "normal", **values: Any) -> Example:
    made = example_of(converter(offensive), post(votes, **values))
    assert isinstance(made, Example)
    return made


@pytest.mark.parametrize(
    ("votes", "label", "multiclass"),
    [("hhn", "hate", "hatespeech"), ("nno", "normal", "normal"), ("oho", "normal", "offensive")],
)
def test_the_majority_of_three_votes_is_the_label(votes: str, label: str, multiclass: str) -> None:
    made = example(votes)
    assert (made.label, made.label_multiclass) == (label, multiclass)


def test_a_post_without_majority_is_left_out_and_says_so() -> None:
    assert example_of(converter(), post("hon")) == LeftOut("no label has a majority of the votes")
    assert majority_label(["normal", "hatespeech"]) is None


def test_offensive_counts_as_asked() -> None:
    assert example("oon").label == "normal"
    assert example("oon", offensive="hate").label == "hate"
    assert isinstance(example_of(converter("drop"), post("oon")), LeftOut)
    assert isinstance(example_of(converter("drop"), post("hhn")), Example)


def test_a_target_needs_two_of_three_annotators() -> None:
    made = example("hhh", targets=[["Islam", "Women"], ["Islam", "Arab"], ["Arab", "None"]])
    assert made.groups == ("middle_east",)
    assert made.persona_tag == "muslim|arab"


def test_one_annotator_naming_a_target_twice_is_one_vote() -> None:
    assert majority_targets([["Women", "Women"], ["None"], ["None"]]) == []


def test_the_rationale_is_what_most_annotators_marked() -> None:
    assert majority_rationale(WORDS, [[1, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 1]]) == "ruins picnic"
    assert majority_rationale(WORDS, [[1, 1, 0, 0], [0, 1, 0, 1]]) == "ruins"
    assert majority_rationale(WORDS, []) == ""


CSV = """id,annotators,rationales,post_tokens
7_twitter,"{'label': [0, 2, 0], 'annotator_id': [1, 2, 3], 'target': [['Arab'], [], ['Arab']]}",\
"[[0, 1], [0, 1]]","['so', 'wet']"
"""


def test_the_csv_form_with_codes_gives_the_same_as_the_json_form(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    vote = [("hatespeech", ["Arab"]), ("offensive", []), ("hatespeech", ["Arab"])]
    official = {
        "post_id": "7_twitter",
        "annotators": [{"label": label, "target": target} for label, target in vote],
        "rationales": [[0, 1], [0, 1]],
        "post_tokens": ["so", "wet"],
    }
    (tmp_path / "a.json").write_text(json.dumps({"7_twitter": official}))
    (from_csv,) = load_hatexplain(tmp_path / "a.csv").examples
    (from_json,) = load_hatexplain(tmp_path / "a.json").examples
    assert from_csv == from_json
    assert (from_csv.text, from_csv.label, from_csv.rationale) == ("so wet", "hate", "wet")


def test_the_splits_come_from_the_divisions_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / DIVISIONS).write_text('{"train": ["1_gab"], "val": ["7_twitter"], "test": []}')
    assert load_hatexplain(tmp_path / "a.csv").examples[0].split == "validation"


@pytest.mark.parametrize(("own", "split"), [("test", "test"), ("val", "validation"), ("", "")])
def test_a_row_keeps_the_split_that_it_declares(own: str, split: str) -> None:
    assert example("hhn", split=own).split == split
    made = example_of(converter(divisions={"other": "train"}), post("hhn", split=own))
    assert isinstance(made, Example)
    assert made.split == split


@pytest.mark.parametrize("own", ["val", "dev", "", None])
def test_the_divisions_and_the_row_may_both_tell_the_split(own: str | None) -> None:
    made = example_of(converter(divisions={"1_gab": "validation"}), post("hhn", split=own))
    assert isinstance(made, Example)
    assert made.split == "validation"


def test_a_row_of_another_split_than_the_divisions_say_is_a_bad_row() -> None:
    made = example_of(converter(divisions={"1_gab": "test"}), post("hhn", split="train"))
    assert made == Bad("'split' says train, but post_id_divisions.json says test")


def test_divisions_of_another_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / DIVISIONS).write_text('{"train": 3}')
    with pytest.raises(DataError, match="expected"):
        load_hatexplain(tmp_path / "a.csv")


BAD: dict[str, dict[str, Any]] = {
    "no 'annotators'": {"annotators": None},
    "'annotators' cannot be read as a list": {"annotators": "[{"},
    "'annotators' is neither": {"annotators": 3},
    "'annotators' has no labels": {"annotators": []},
    "unknown vote 'rude'": {"annotators": [{"label": "rude", "target": []}]},
    "'annotators' has 1 labels, but not as many": {"annotators": {"label": [0], "target": []}},
    "'post_tokens' is not a list of words": {"post_tokens": [1, 2]},
    "'rationales' do not have one mark": {"rationales": [[0, 1]]},
}


@pytest.mark.parametrize("reason", BAD)
def test_a_post_of_another_form_says_what_is_wrong(reason: str) -> None:
    made = example_of(converter(), post("hhn", **BAD[reason]))
    assert isinstance(made, Bad)
    assert made.reason.startswith(reason)


def test_a_misspelt_target_is_a_bad_row_that_says_what_was_meant() -> None:
    made = example_of(converter(), post("nnn", [["Homosexualls"]] * 3))
    assert made == Bad("unknown group 'Homosexualls'. Did you mean 'homosexuals'?")
