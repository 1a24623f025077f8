"""Splits are stratified, seeded, and no cluster of duplicates stands in two of them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.data.split_names import split_of
from hsd.data.splits import assign_splits, require_known_splits
from hsd.errors import DataError
from hsd.example import Example


def rows(count: int, **fields: str) -> list[Example]:
    source = fields.get("source_dataset", "s")
    return [
        Example(
            id=f"{source}{number:04d}",
            text="a",
            label="hate" if number % 2 else "normal",
            split=fields.get("split", ""),
            source_dataset=source,
        )
        for number in range(count)
    ]


def alone(examples: list[Example]) -> list[int]:
    return list(range(len(examples)))


def sizes(examples: list[Example]) -> dict[str, int]:
    return dict(Counter(example.split for example in examples))


def test_shares_hold_within_each_stratum() -> None:
    made = assign_splits(rows(400) + rows(100, source_dataset="t"), list(range(500)), seed=1)
    assert sizes(made) == {"train": 400, "validation": 50, "test": 50}
    assert sizes([e for e in made if e.source_dataset == "t" and e.label == "hate"]) == {
        "train": 40,
        "validation": 5,
        "test": 5,
    }


def test_many_small_strata_do_not_all_go_to_train() -> None:
    examples = [row for n in range(50) for row in rows(2, source_dataset=f"s{n:02d}")]
    made = sizes(assign_splits(examples, alone(examples), seed=1))
    assert made == {"train": 80, "validation": 10, "test": 10}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 99))
def test_no_cluster_straddles_splits(members: list[int], seed: int) -> None:
    examples = rows(len(members))
    clusters = [members.index(cluster) for cluster in members]
    made = assign_splits(examples, clusters, seed)
    splits = {(cluster, example.split) for cluster, example in zip(clusters, made, strict=True)}
    assert len(splits) == len(set(clusters))


def test_the_same_seed_splits_alike_in_any_order_of_rows() -> None:
    examples = rows(60)
    made = {e.id: e.split for e in assign_splits(examples, alone(examples), seed=3)}
    turned = {e.id: e.split for e in assign_splits(examples[::-1], alone(examples), seed=3)}
    other = {e.id: e.split for e in assign_splits(examples, alone(examples), seed=4)}
    assert made == turned
    assert made != other


def test_given_splits_stay_and_draw_their_duplicates_along() -> None:
    examples = [
        *rows(1, split="train", source_dataset="a"),
        *rows(1, split="test", source_dataset="b"),
        *rows(3, source_dataset="c"),
    ]
    made = assign_splits(examples, [0, 1, 0, 1, 4], seed=1)
    assert [e.split for e in made[:4]] == ["train", "test", "train", "test"]


def test_a_double_of_rows_in_two_given_splits_is_held_out() -> None:
    examples = [
        *rows(1, split="train", source_dataset="a"),
        *rows(1, split="test", source_dataset="b"),
        *rows(1, source_dataset="c"),
    ]
    assert assign_splits(examples, [0, 0, 0], seed=1)[2].split == "test"


def test_an_unknown_split_names_its_place() -> None:
    example = Example(id="x", text="a", label="hate", split="exam", place="f.csv:3")
    with pytest.raises(DataError, match="f.csv:3: unknown split 'exam'; expected train"):
        require_known_splits([example])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001", "train"),
        ("test-00000-of-00002-0123456789abcdef", "test"),
        ("validation.en", "validation"),
        ("Test set", "test"),
        ("dev2", "validation"),
        ("val_final", "validation"),
        ("TRAINING", "train"),
        ("test[:50%]", "test"),
    ],
)
def test_a_split_is_told_by_the_first_word_of_a_name(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    "name",
    ["train_dev", "dev_test", "train-test", "train+test", "held-out", "trains", "retest", ""],
)
def test_a_name_of_two_splits_or_of_none_stays_as_it_is(name: str) -> None:
    assert split_of(name) == name
