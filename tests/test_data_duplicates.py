"""Duplicates are found exactly, and named when they cross a split or contradict each other."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsd.data.duplicates import (
    SHINGLE_CHARACTERS,
    Pair,
    clusters,
    conflicts,
    describe_duplicates,
    find_pairs,
    leaks,
    normalise,
)
from hsd.example import Example

LONG = "the old lighthouse keeper walked down to the harbour every morning before breakfast"


@pytest.mark.parametrize(
    "copy",
    [
        "See https://a.example/x, @anna: 12 boats!",
        "see HTTPS://b.example  @bert -- 7 boats",
        "See www.c.example <user> 1,000 'boats'.",
    ],
)
def test_copies_differ_in_case_addresses_users_numbers_and_marks(copy: str) -> None:
    assert normalise(copy) == "see url user 0 boats"


def test_emoji_stay_since_they_can_turn_a_meaning() -> None:
    assert normalise("nice \U0001f600") != normalise("nice \U0001f52a")


def test_a_post_of_marks_only_is_still_a_post() -> None:
    assert find_pairs(["!!!", "???", "word"]) == [Pair(0, 1, 1.0)]


def test_one_changed_word_in_a_long_post_is_a_near_double() -> None:
    (pair,) = find_pairs([LONG, "something else entirely", LONG.replace("old", "sad")])
    assert (pair.first, pair.second, pair.exact) == (0, 2, False)
    assert 0.8 <= pair.similarity < 1


def test_a_post_continued_by_another_is_found_at_the_very_threshold() -> None:
    (pair,) = find_pairs(["abcdefghijkl", "abcdefghijklmn"], threshold=0.8)
    assert pair.similarity == 0.8


def test_copies_are_paired_with_the_first_one_only() -> None:
    assert find_pairs(["a b", "A b.", "a  b"]) == [Pair(0, 1, 1.0), Pair(0, 2, 1.0)]


def by_comparing_all(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    width = SHINGLE_CHARACTERS
    sets = [{t[i : i + width] for i in range(max(1, len(t) - width + 1))} for t in texts]
    pairs = combinations(range(len(texts)), 2)
    return {
        (one, two)
        for one, two in pairs
        if len(sets[one] & sets[two]) / len(sets[one] | sets[two]) >= threshold
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("ab ", min_size=6, max_size=18), max_size=12), st.sampled_from([0.5, 0.8]))
def test_no_double_is_missed(texts: list[str], threshold: float) -> None:
    distinct = list(dict.fromkeys(map(normalise, texts)))
    found = {(pair.first, pair.second) for pair in find_pairs(distinct, threshold)}
    assert found == by_comparing_all(distinct, threshold)


def test_clusters_join_chains_of_pairs() -> None:
    assert clusters(5, [Pair(3, 4, 1.0), Pair(1, 3, 0.9)]) == [0, 1, 2, 1, 1]


def rows(table: str) -> list[Example]:
    """Read lines of `split label text`."""
    parts = [line.split(maxsplit=2) for line in table.strip().splitlines()]
    return [
        Example(id=f"e{n}", text=text, label="hate" if label == "h" else "normal", split=split)
        for n, (split, label, text) in enumerate(parts)
    ]


def leaking(table: str) -> list[tuple[int, int]]:
    examples = rows(table)
    found = leaks(examples, find_pairs([e.text for e in examples]))
    return [(pair.first, pair.second) for pair in found]


def test_the_row_of_the_earlier_split_leaks() -> None:
    assert leaking("""
        test       h one two three four
        train      h one two three four!
        validation h one two three four?
    """) == [(1, 0), (1, 2), (2, 0)]


def test_every_copy_of_a_leaking_row_leaks() -> None:
    near = LONG.replace("old", "sad")
    assert leaking(f"""
        train n {LONG}
        train n {LONG}.
        test  n {near}
    """) == [(0, 2), (1, 2)]


def test_duplicates_within_a_split_or_without_one_are_no_leak() -> None:
    examples = rows("train h a b c\ntrain h a b c")
    assert leaks(examples, find_pairs(["a b c", "a b c"])) == []
    assert leaks([Example(id="x", text="a", label="hate")] * 2, [Pair(0, 1, 1.0)]) == []


def test_duplicates_with_different_labels_are_conflicts() -> None:
    examples = rows("train h a b c\ntrain n a b c\ntrain h a b c")
    pairs = find_pairs([e.text for e in examples])
    assert conflicts(examples, pairs) == [Pair(0, 1, 1.0)]


def test_a_reported_pair_names_both_rows_and_holds_no_text() -> None:
    examples = rows("train h a b c\ntest n a b c")
    said = describe_duplicates(examples, Pair(0, 1, 0.87654))
    assert said["ids"] == ["e0", "e1"]
    assert said["similarity"] == 0.8765
    assert "a b c" not in str(said)
