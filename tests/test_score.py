"""Scoring labels: P(hate) is what the model says of the whole label, whatever is beside it."""

from math import exp
from pathlib import Path
from typing import Any

import pytest

from hsd.config.model import ModelConfig

pytestmark = pytest.mark.model

POSTS = (
    "they are all liars and should leave our town at once",
    "the new bakery opens",
    "🥐",
    "my neighbours cook the best food, they said, and everything else is normal on monday",
)


class Asked:
    def __init__(self, folder: Path, *, rationale: bool = False) -> None:
        from hsd.inference.score import candidates
        from hsd.model.load import load_base
        from hsd.prompts.chat import make_chat
        from hsd.prompts.contract import make_contract
        from hsd.prompts.render import Renderer
        from hsd.prompts.template import load_template

        contract = make_contract(load_template("baseline"), "standard")
        base = load_base(ModelConfig(name=str(folder), device="cpu"))
        self.model, self.tokenizer = base.model, base.tokenizer
        self.renderer = Renderer(self.tokenizer, contract)
        self.strategy = contract.strategy
        self.spelled = candidates(
            self.renderer, self.tokenizer, has_system=True, rationale=rationale
        )
        self.rows = [
            self.renderer.encode(make_chat(contract.strategy, f"row{n}", post))
            for n, post in enumerate(POSTS)
        ]

    def scores(self, batch_size: int) -> dict[str, Any]:
        from hsd.inference.score import score

        batches = score(self.model, self.tokenizer, self.rows, self.spelled, batch_size)
        return {reply.id: reply for batch in batches for reply in batch}

    def log_probability(self, prompt: list[int], tail: list[int]) -> float:
        """One row, one forward pass, nothing shared: the long way."""
        import torch

        start = [*prompt, *self.spelled.opening]
        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([[*start, *tail]])).logits[0]
        taken = logits.log_softmax(-1)[len(start) - 1 : -1]  # (tail, vocab)
        return float(taken[range(len(tail)), tail].sum())


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt_oss"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.getfixturevalue(request.param))


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


def test_a_score_is_the_models_probability_of_hate(asked: Asked) -> None:
    found = asked.scores(batch_size=3)
    for row in asked.rows:
        hate, normal = (asked.log_probability(row.prompt, tail) for tail in asked.spelled.tails)
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
