"""Rows over ranks: each row on one rank, merged by id, exactly once."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posts import predictions

from hsd.errors import EvaluationError
from hsd.inference.shards import done_before, merged, own_rows, part
from hsd.metrics.prediction import Prediction
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


@given(st.lists(st.integers(), unique=True), st.integers(1, 9))
def test_every_row_is_on_exactly_one_rank(rows: list[int], ranks: int) -> None:
    shares = [own_rows(rows, rank, ranks) for rank in range(ranks)]
    assert sorted(row for share in shares for row in share) == sorted(rows)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_long_and_short_rows_are_dealt_out_like_cards() -> None:
    assert own_rows([90, 80, 20, 10, 5], 0, 2) == [90, 20, 5]
    assert own_rows([90, 80, 20, 10, 5], 1, 2) == [80, 10]


def test_the_merge_has_the_order_of_the_data(tmp_path: Path) -> None:
    wrote(tmp_path, [THREE[2], THREE[0]], [THREE[1]])
    assert merged(tmp_path, IDS) == THREE
    assert merged(tmp_path, IDS[::-1]) == THREE[::-1]


def test_a_rank_without_rows_is_fine(tmp_path: Path) -> None:
    wrote(tmp_path, THREE, [])
    assert merged(tmp_path, IDS) == THREE


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
        merged(tmp_path, IDS)


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
    assert merged(tmp_path, IDS) == THREE
