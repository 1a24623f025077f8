"""Scoring labels: P(hate) is what the model says of the whole label, whatever is beside it."""

from math import exp, inf, nan
from pathlib import Path

import pytest
import small_runs
from asked import Asked

from hsd.errors import EvaluationError

pytestmark = pytest.mark.model

POSTS = (
    "they are all liars and should leave our town at once",
    "the new bakery opens",
    "🥐",
    "my neighbours cook the best food, they said, and everything else is normal on monday",
)


def log_probability(asked: Asked, prompt: list[int], tail: list[int]) -> float:
    """One row, one forward pass, nothing shared: the long way."""
    import torch

    start = [*prompt, *asked.spelled.opening]
    with torch.inference_mode():
        logits = asked.model(input_ids=torch.tensor([[*start, *tail]])).logits[0]
    taken = logits.log_softmax(-1)[len(start) - 1 : -1]  # (tail, vocab)
    return float(taken[range(len(tail)), tail].sum())


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt_oss", "tiny_thinker"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.getfixturevalue(request.param), POSTS)


def test_the_candidates_are_the_trained_answers_up_to_the_closing_quote(asked: Asked) -> None:
    decode = asked.tokenizer.decode
    opening = decode(asked.spelled.opening)
    hate, normal = (opening + decode(tail) for tail in asked.spelled.tails)
    start = asked.renderer.opening_text(has_system=True) + '{"classification": "'
    assert hate.startswith(start + 'hate"')
    assert normal.startswith(start + 'normal"')
    assert asked.spelled.tails[0][0] != asked.spelled.tails[1][0]


def test_with_a_rationale_the_answer_goes_on_behind_the_label(tiny_llama: Path) -> None:
    spelled = Asked(tiny_llama, rationale=True).spelled
    decode = Asked(tiny_llama).tokenizer.decode
    assert decode([*spelled.opening, *spelled.tails[0]]).startswith('{"classification": "hate"')


@pytest.mark.parametrize("both", [(nan, -1.0), (-1.0, nan), (-inf, -inf)])
def test_probabilities_that_are_no_numbers_are_no_label(
    tiny_llama: Path, both: tuple[float, float]
) -> None:
    from hsd.inference.score import scored

    rows = Asked(tiny_llama, POSTS[:2]).rows
    with pytest.raises(
        EvaluationError, match=r"row row1: the model gives its labels no prob.*dtype"
    ):
        scored(rows, [(-1.0, -2.0), both], 0.1)
    (sure,) = scored(rows[:1], [(-inf, -2.0)], 0.1)
    assert sure.score == pytest.approx(0.0)
    assert sure.text == '{"classification": "normal"}'


def test_a_broken_weight_ends_an_evaluation_in_one_line(tiny_llama: Path, tmp_path: Path) -> None:
    broken = Asked(small_runs.with_nan_word(tiny_llama, tmp_path / "broken", "§"), ["soup", "a §"])
    with pytest.raises(EvaluationError, match="row row1: "):
        broken.scores(batch_size=2)


def test_a_score_is_the_models_probability_of_hate(asked: Asked) -> None:
    found = asked.scores(batch_size=3)
    for row in asked.rows:
        hate, normal = (log_probability(asked, row.prompt, tail) for tail in asked.spelled.tails)
        expected = exp(hate) / (exp(hate) + exp(normal))
        assert found[row.id].score == pytest.approx(expected, abs=1e-5)
        label = "hate" if expected > 0.5 else "normal"
        assert found[row.id].text == f'{{"classification": "{label}"}}'
        assert not found[row.id].cut_off


def test_scores_do_not_depend_on_batch_size(asked: Asked) -> None:
    alone, together = asked.scores(1), asked.scores(4)
    assert len({round(reply.score, 6) for reply in alone.values()}) > 1
    for id_, reply in alone.items():
        assert together[id_].score == pytest.approx(reply.score, abs=1e-5)
        assert together[id_].text == reply.text
