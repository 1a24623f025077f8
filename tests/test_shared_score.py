"""Scores behind a shared prefix are those of each row alone, from one forward pass a batch."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from asked import Asked

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt_oss", "tiny_mxfp4"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.getfixturevalue(request.param))


def alone(asked: Asked, rows: Any = None) -> Any:
    """Return log-probabilities (rows, 2), one row and one label at a time, nothing shared."""
    import torch

    found = []
    for row in asked.rows if rows is None else rows:
        for tail in asked.spelled.tails:
            start = [*row.prompt, *asked.spelled.opening]
            with torch.inference_mode():
                logits = asked.model(input_ids=torch.tensor([[*start, *tail]])).logits[0]
            taken = logits.log_softmax(-1)[len(start) - 1 : -1]  # (tail, vocab)
            found.append(taken[range(len(tail)), tail].sum())
    return torch.stack(found).view(-1, 2)


def shared(asked: Asked, batch_size: int, prefix: Any = None, rows: Any = None) -> Any:
    import torch

    from hsd.inference.halving import in_batches

    rows = asked.rows if rows is None else rows
    engine = asked.scoring(prefix)
    return torch.cat(list(in_batches(rows, batch_size, engine.log_probabilities)))


@pytest.mark.parametrize("batch_size", [1, 2, 4, 16])
def test_scores_are_those_of_each_row_alone(batch_size: int, asked: Asked) -> None:
    import torch

    expected = alone(asked)
    assert expected.unique(dim=0).shape == expected.shape, "the rows are told apart"
    torch.testing.assert_close(shared(asked, batch_size), expected)
    torch.testing.assert_close(shared(asked, batch_size, rows=asked.rows[::-1]), expected.flip(0))


@pytest.mark.parametrize("tokens", [0, 1, 17, 40])
def test_any_part_of_the_prompt_may_be_the_shared_one(tokens: int, asked: Asked) -> None:
    import torch

    torch.testing.assert_close(shared(asked, 4, asked.prefix(tokens)), alone(asked))


@pytest.mark.parametrize("tails", list(permutations([[20], [30, 31, 32], [40, 41]], 2)))
def test_labels_may_be_of_any_number_of_tokens(
    tails: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.inference.score import Candidates

    monkeypatch.setattr(asked, "spelled", Candidates([10, 11], tails))
    torch.testing.assert_close(shared(asked, 4), alone(asked))


def test_labels_of_one_token_need_no_branches(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hsd.inference.score import Candidates

    monkeypatch.setattr(asked, "spelled", Candidates([], ([20], [30])))
    torch.testing.assert_close(shared(asked, 4), alone(asked))


def test_the_labels_do_not_see_each_other(tiny_llama: Path) -> None:
    """What the other label is changes nothing."""
    import torch

    from hsd.inference.score import Candidates

    asked = Asked(tiny_llama)
    opening, (hate, normal) = asked.spelled.opening, asked.spelled.tails
    asked.spelled = Candidates(opening, (hate, [50, 51, 52, 53]))
    with_another = shared(asked, 4)[:, 0]
    asked.spelled = Candidates(opening, (hate, normal))
    torch.testing.assert_close(with_another, shared(asked, 4)[:, 0])


def test_a_batch_is_one_forward_pass_with_logits_where_they_count(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    engine = asked.scoring()
    forward = type(asked.model).forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        kept.append(len(kwargs["logits_to_keep"]))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(asked.model), "forward", counted)
    engine(asked.rows[:4])
    assert kept == [4 * (1 + sum(len(tail) - 1 for tail in asked.spelled.tails))]


def test_replies_are_those_of_the_plain_way(asked: Asked) -> None:
    plain = asked.scores(1)
    for reply in asked.scoring()(asked.rows):
        assert reply.text == plain[reply.id].text
        assert reply.score == pytest.approx(plain[reply.id].score, abs=1e-5)
