"""The self-test: a few rows both ways; ties are forgiven, anything else is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked import Asked

from hsd.prompts.render import Encoded

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt_oss"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.getfixturevalue(request.param))


def replies_checked(asked: Asked, batch_size: int = 2) -> Any:
    from hsd.inference.replies import Asking
    from hsd.inference.self_test import check_replies

    engine = asked.generating(Asking(8, batch_size))
    stops = asked.renderer.stop_ids()
    return check_replies(engine, asked.model, asked.tokenizer, asked.rows, stops, batch_size)


def scores_checked(asked: Asked, batch_size: int = 2) -> Any:
    from hsd.inference.self_test import check_scores

    return check_scores(asked.scoring(), asked.model, asked.rows, asked.spelled, batch_size)


@pytest.mark.parametrize(
    ("lengths", "chosen"),
    [
        ([5], [5]),
        ([3, 9], [9, 3]),
        (range(1, 12), [11, 1]),
    ],
)
def test_the_longest_and_the_shortest_row_are_tested(lengths: Any, chosen: list[int]) -> None:
    from hsd.inference.self_test import chosen_rows

    rows = [Encoded(f"row{n}", [0] * n, []) for n in lengths]
    assert [len(row.prompt) for row in chosen_rows(rows)] == chosen


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_what_is_right_passes(batch_size: int, asked: Asked) -> None:
    for checked in (replies_checked(asked, batch_size), scores_checked(asked, batch_size)):
        assert checked.problem is None
        assert checked.rows == [row.id for row in asked.rows]
        assert checked.largest_difference < checked.tolerance / 10
        assert checked.facts()["passed"]


@pytest.mark.parametrize("base", ["tiny_llama", "tiny_gpt_oss"])
def test_coarse_numbers_pass_with_a_wider_tolerance(
    base: str, request: pytest.FixtureRequest
) -> None:
    import torch

    asked = Asked(request.getfixturevalue(base))
    asked.model.to(torch.bfloat16)
    for checked in (replies_checked(asked, 4), scores_checked(asked, 4)):
        assert checked.problem is None
        assert checked.largest_difference < checked.tolerance / 3


def rows_see_each_other(visible: Any) -> Any:
    """Return the mask of one long text, which models make that are left to themselves."""

    def wrong(queries: Any, keys: Any, window: int | None = None) -> Any:
        one_row = [replace(packed, row=packed.row * 0) for packed in (queries, keys)]
        return visible(*one_row, window)

    return wrong


def the_window_is_missing(visible: Any) -> Any:
    return lambda queries, keys, *_: visible(queries, keys)


def the_start_is_hidden(visible: Any) -> Any:
    return lambda queries, keys, window=None: (
        visible(queries, keys, window) & (keys.position >= 30)[None, :]
    )


@pytest.mark.parametrize("wrong", [rows_see_each_other, the_window_is_missing, the_start_is_hidden])
@pytest.mark.parametrize("check", [replies_checked, scores_checked])
def test_a_wrong_mask_is_found(
    check: Any, wrong: Any, tiny_gpt_oss: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsd.model import packing

    asked = Asked(tiny_gpt_oss)
    monkeypatch.setattr(packing, "visible", wrong(packing.visible))
    checked = check(asked, batch_size=4)
    assert checked.problem is not None
    assert checked.problem.startswith("row row")
    assert checked.largest_difference > checked.tolerance
    assert not checked.facts()["passed"]


def test_a_wrong_loop_is_found(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row goes on from what another one wrote."""
    from hsd.inference import shared_generate

    newest = shared_generate._newest

    def mixed_up(batch: Any, written: Any, left: Any, device: Any) -> Any:
        return newest(batch, [written[n - 1] for n in range(len(written))], left, device)

    monkeypatch.setattr(shared_generate, "_newest", mixed_up)
    checked = replies_checked(asked, batch_size=4)
    assert checked.problem is not None
    assert checked.ties


def test_replies_may_part_at_a_tie_and_nowhere_else() -> None:
    import torch

    from hsd.inference.self_test import _lead

    scores = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.3999, 0.2001]]).log()
    assert _lead([0, 0], scores, [0, 0]) is None
    assert _lead([0, 0], scores, [0, 1, 2]) == pytest.approx(0.00025, abs=1e-5)
    assert _lead([0, 0], scores, [1, 0]) == pytest.approx(1.2528, abs=1e-3)
    assert _lead([0, 0], scores, [0]) == float("inf")
