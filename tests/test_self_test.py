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
    from hsd.evaluation.engine_test import check_replies
    from hsd.inference.replies import Asking

    engine = asked.generating(Asking(8, batch_size))
    stops = asked.renderer.stop_ids()
    return check_replies(engine, asked.model, asked.tokenizer, asked.rows, stops, batch_size)


def scores_checked(asked: Asked, batch_size: int = 2) -> Any:
    from hsd.evaluation.engine_test import check_scores

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
    from hsd.evaluation.engine_test import rows_of_test

    rows = [Encoded(f"row{n}", [0] * n, []) for n in lengths]
    assert [len(row.prompt) for row in rows_of_test(rows)] == chosen


def test_where_numbers_are_coarse_rows_of_all_lengths_are_tested() -> None:
    from hsd.evaluation.engine_test import rows_of_test

    rows = [Encoded(f"row{n}", [0] * n, []) for n in range(1, 30)]
    lengths = [len(row.prompt) for row in rows_of_test(rows, coarse=True)]
    assert lengths == [29, 25, 21, 17, 13, 9, 5, 1]
    assert len(rows_of_test(rows[:3], coarse=True)) == 3


def differences(*rows: list[float]) -> Any:
    import torch

    return [torch.tensor(row) for row in rows]


@pytest.mark.parametrize(
    ("packed", "padded", "passes"),
    [
        ([[0.05, -0.15], [0.1]], [[0.04, 0.16], [-0.1]], True),
        ([[0.4], [0.4]], [[0.1], [0.1]], True),  # four times what padding makes
        ([[0.5], [0.5]], [[0.1], [0.1]], False),
        ([[0.9, 0.9, 0.0, 0.0]], [[0.1, 0.1, 0.1, 0.1]], False),
        ([[0.9, 0.0, 0.0, 0.0]], [[0.1, 0.1, 0.1, 0.1]], True),  # one token does not decide
        ([[5.0], [0.1], [0.1]], [[0.1], [0.1], [0.1]], True),  # nor does one row
        ([[5.0], [5.0], [0.1]], [[0.1], [0.1], [0.1]], False),
        ([[0.01], [0.01]], [[0.0], [0.0]], True),  # rounding that padding happens not to make
        ([[float("nan")], [0.0], [0.0]], [[0.1], [0.1], [0.1]], False),
    ],
)
def test_coarse_numbers_may_differ_by_four_times_what_padding_makes(
    packed: Any, padded: Any, passes: bool
) -> None:
    from types import SimpleNamespace

    import torch

    from hsd.model.tolerance import compared

    rows = [Encoded(f"row{n}", [0], []) for n in range(len(packed))]
    for model in (
        SimpleNamespace(dtype=torch.bfloat16),
        SimpleNamespace(dtype=torch.float32, is_quantized=True),
    ):
        found = compared(model, rows, differences(*packed), differences(*padded))
        assert (found.problem is None) is passes
        assert passes or "allowed where padding alone makes" in str(found.problem)


def test_beside_the_longest_row_every_other_is_padded() -> None:
    from hsd.model.tolerance import PADDING, longer_than_all

    rows = [Encoded("a", [1, 2], [3]), Encoded("b", [1], [2, 3, 4])]
    more = longer_than_all(rows)
    assert len(more.prompt) + len(more.answer) == 4 + PADDING


def test_a_kernel_that_does_not_follow_masks_is_found_on_the_loaded_model(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in bfloat16, as a kernel may: on the twin all is right."""
    import torch

    from hsd.evaluation.engine_test import check_twins_scores
    from hsd.model import packing

    masks = packing.attention_masks

    def ignored(model: Any, queries: Any, keys: Any) -> Any:
        if model.dtype == torch.bfloat16:
            queries, keys = (replace(tokens, row=tokens.row * 0) for tokens in (queries, keys))
        return masks(model, queries, keys)

    asked = Asked(asked.folder)
    for weight in asked.model.parameters():
        if weight.dim() > 1:  # so large that what a row sees matters to it
            torch.nn.init.normal_(weight, std=2 / weight.shape[-1] ** 0.5)
    asked.model.to(torch.bfloat16)
    for check in (replies_checked, scores_checked):
        assert check(asked, 16).problem is None
    monkeypatch.setattr(packing, "attention_masks", ignored)
    assert check_twins_scores(asked.model).problem is None
    for check in (replies_checked, scores_checked):
        assert "allowed where padding alone makes" in str(check(asked, 16).problem)


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
    monkeypatch.setattr(packing, "visible_positions", wrong(packing.visible_positions))
    checked = check(asked, batch_size=4)
    assert "other probabilities than alone (row row" in str(checked.problem)
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
    # Where numbers are too coarse to show it, the twin does.
    from hsd.evaluation.engine_test import check_twins_replies

    stops = asked.renderer.stop_ids()
    twin = check_twins_replies(asked.model, asked.tokenizer, stops)
    assert "are answered otherwise behind a shared prompt than alone" in str(twin.problem)


def test_replies_may_part_at_a_tie_and_nowhere_else() -> None:
    import torch

    from hsd.evaluation.engine_test import _lead

    scores = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.3999, 0.2001]]).log()
    assert _lead([0, 0], scores, [0, 0]) is None
    assert _lead([0, 0], scores, [0, 1, 2]) == pytest.approx(0.00025, abs=1e-5)
    assert _lead([0, 0], scores, [1, 0]) == pytest.approx(1.2528, abs=1e-3)
    assert _lead([0, 0], scores, [0]) == float("inf")
