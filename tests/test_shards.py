"""Rows over ranks: each batch on one rank, rows merged by id, exactly once."""

from dataclasses import replace
from pathlib import Path
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions

from hsd.errors import EvaluationError
from hsd.evaluation.shards import done_before, merged_shards, own_batches, part
from hsd.prediction import Prediction
from hsd.prompts.render import Encoded
from hsd.report.predictions import append_predictions

THREE = predictions("""
    lgbtq   h h
    mexican n h
    -       n refusal
""")  # p000, p001, p002
IDS = [row.id for row in THREE]


def wrote(folder: Path, *ranks: list[Prediction]) -> None:
    for rank, rows in enumerate(ranks):
        append_predictions(part(folder, rank), rows)


def batches(*names: str) -> list[list[Encoded]]:
    """`batches("ab", "c")`: two batches, of the rows a and b, and of c."""
    return [[Encoded(id, [], []) for id in batch] for batch in names]


def shares(of: list[list[Encoded]], known: str, ranks: int) -> list[list[str]]:
    """Return the batches of each rank by the names of their rows."""
    return [
        ["".join(row.id for row in batch) for batch in own_batches(of, known, rank, ranks)]
        for rank in range(ranks)
    ]


@given(
    st.lists(st.integers(1, 4), max_size=8),
    st.sets(st.sampled_from(ascii_letters)),
    st.integers(1, 9),
)
def test_every_batch_with_a_row_that_is_left_is_on_exactly_one_rank_and_whole(
    sizes: list[int], known: set[str], ranks: int
) -> None:
    names = iter(ascii_letters)
    whole = ["".join(next(names) for _ in range(size)) for size in sizes]
    found = shares(batches(*whole), "".join(known), ranks)
    left = [batch for batch in whole if set(batch) - known]
    assert sorted(batch for share in found for batch in share) == sorted(left)
    counts = [len(share) for share in found]
    assert max(counts) - min(counts) <= 1


def test_long_and_short_batches_are_dealt_out_like_cards() -> None:
    assert shares(batches("ab", "cd", "ef", "gh", "i"), "", 2) == [["ab", "ef", "i"], ["cd", "gh"]]


def test_a_batch_that_is_partly_known_stays_whole() -> None:
    assert shares(batches("ab", "cd", "ef", "g"), "abcg", 2) == [["cd"], ["ef"]]


def test_the_merge_has_the_order_of_the_data(tmp_path: Path) -> None:
    wrote(tmp_path, [THREE[2], THREE[0]], [THREE[1]])
    assert merged_shards(tmp_path, IDS) == THREE
    assert merged_shards(tmp_path, IDS[::-1]) == THREE[::-1]


def test_a_rank_without_rows_is_fine(tmp_path: Path) -> None:
    wrote(tmp_path, THREE, [])
    assert merged_shards(tmp_path, IDS) == THREE


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([[THREE[0]], [THREE[1]]], "1 have no prediction and 0 have several, and 0 .*p002"),
        ([THREE, [THREE[1]]], "0 have no prediction and 1 have several, and 0 .*p001"),
        (
            [THREE, [replace(THREE[0], id="other")]],
            "0 have no prediction and 0 have several, and 1 predictions are of other rows .other",
        ),
        ([[]], "3 have no prediction"),
    ],
)
def test_anything_but_once_each_is_refused(
    ranks: list[list[Prediction]], said: str, tmp_path: Path
) -> None:
    wrote(tmp_path, *ranks)
    with pytest.raises(EvaluationError, match=said):
        merged_shards(tmp_path, IDS)


def test_what_is_done_is_known_whoever_did_it(tmp_path: Path) -> None:
    assert done_before(tmp_path) == {}
    wrote(tmp_path, [THREE[0]], [THREE[1]], [])
    assert done_before(tmp_path).keys() == {"p000", "p001"}


def test_a_row_that_was_being_written_is_done_again(tmp_path: Path) -> None:
    wrote(tmp_path, THREE[:2])
    file = part(tmp_path, 0)
    file.write_bytes(file.read_bytes()[:-9])
    assert done_before(tmp_path).keys() == {"p000"}
    wrote(tmp_path, THREE[1:])
    assert merged_shards(tmp_path, IDS) == THREE
