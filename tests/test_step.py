"""The gradient of a step is that of its rows one by one, whatever is shared and however cut."""

import random
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gradients import (
    FAMILIES,
    PRECISIONS,
    collected,
    exact_norms,
    labels_one_by_one,
    moved,
    one_by_one,
    relative_error,
)

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import LoraConfig
from hsd.example import Label
from hsd.model import packing
from hsd.model.adapter import new_adapter
from hsd.model.base import load_base
from hsd.prompts.render import Encoded, Target
from hsd.training.gradient_test import check_gradients
from hsd.training.microbatches import (
    Form,
    Limits,
    Sharing,
    StepPlan,
    find_sharing,
    length,
    plain_work,
)
from hsd.training.objective import Objective, count_losses
from hsd.training.step import Learner

pytestmark = pytest.mark.model

ANSWER = Objective()

__all__ = ["exact_norms"]


def words(count: int, seed: int) -> list[int]:
    return random.Random(seed).choices(range(3, 300), k=count)


def asked(how: str, prefix: int, posts: list[int], answer: int = 5) -> list[Encoded]:
    """Return rows that begin with the same `prefix` tokens; their posts have these lengths."""
    shared = words(prefix, seed=prefix)
    return [
        Encoded(
            f"{how}{n}",
            [*shared, 3 + n, *words(post, seed=n)],
            words(answer + n % 2, seed=100 + n),
            asked=(how, how),
        )
        for n, post in enumerate(posts)
    ]


# Longer than the tiny gpt-oss's window of 16, shorter than it, and no prompt shared at all.
ROWS = [
    *asked("long", 40, [3, 30, 9, 4, 17]),
    *asked("short", 6, [20, 2, 8]),
    *asked("own", 0, [12, 5, 21, 1]),
]
ROOMY = Limits(batch_size=4, longest=max(map(length, ROWS)), longest_answer=6, pair_tokens=1e-3)
TIGHT = replace(ROOMY, batch_size=1)
FORMS = {
    "behind a prefix, roomy": ROOMY,
    "behind a prefix, a row or two at a time": TIGHT,
    "with the prefix in each piece": ROOMY,
    "as attention keeps its scores": replace(ROOMY, batch_size=2, keeps_scores=True),
}


def works_in(form: str, rows: list[Encoded]) -> list[StepPlan]:
    """Return how rows are learned; all forms have the same gradient, whichever is cheaper."""
    named: Form = "with" if form.startswith("with") else "behind"
    works = find_sharing(rows, FORMS[form]).work(rows)
    return [replace(work, form=named if work.prefix else work.form) for work in works]


def model_of(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    base = load_base(ModelConfig(name=str(folder), device="cpu"))
    everywhere = LoraConfig(rank=4, alpha=8, dropout=0.0, target_modules="all-linear")
    return moved(new_adapter(base, everywhere, seed=1), dtype)


def learn(model: Any, works: list[StepPlan], rows: list[Encoded]) -> torch.Tensor:
    return learner(model).learn(works, count_losses(rows))


def learner(model: Any, objective: Objective = ANSWER) -> Learner:
    return Learner(
        model, 0, objective, nullcontext, lambda loss: loss.backward(), lambda loss, _: loss
    )


@FAMILIES
@PRECISIONS
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("exact_norms")
def test_a_shared_steps_gradient_is_that_of_its_rows_one_by_one(
    family: str, dtype: torch.dtype, tolerance: float, form: str, request: pytest.FixtureRequest
) -> None:
    model = model_of(request.getfixturevalue(family), dtype)
    works = works_in(form, ROWS)
    assert [len(work.prefix) for work in works] == [40, 6, 0]
    learn(model, works, ROWS)
    assert relative_error(collected(model), one_by_one(model, ROWS)) <= tolerance


@FAMILIES
@pytest.mark.usefixtures("exact_norms")
def test_a_plain_steps_gradient_is_that_of_its_rows_one_by_one(
    family: str, request: pytest.FixtureRequest
) -> None:
    model = model_of(request.getfixturevalue(family), torch.float64)
    learn(model, [plain_work(ROWS, ROOMY)], ROWS)
    assert relative_error(collected(model), one_by_one(model, ROWS)) <= 1e-10


@FAMILIES
@pytest.mark.usefixtures("exact_norms")
def test_shares_of_two_processes_add_up_to_the_step(
    family: str, request: pytest.FixtureRequest
) -> None:
    model = model_of(request.getfixturevalue(family), torch.float64)
    sharing = find_sharing(ROWS, ROOMY)
    one = learner(model)
    losses = [one.learn(sharing.work(ROWS[process::2]), count_losses(ROWS)) for process in range(2)]
    assert relative_error(collected(model), one_by_one(model, ROWS)) <= 1e-10
    assert float(sum(losses)) == pytest.approx(float(learn(model, sharing.work(ROWS), ROWS)))


# Labels of one and of three tokens, shares of votes, and weights.
TAILS = ([7, 8, 9], [11])
LABEL = Objective(answer_weight=0.3, label_weight=1.0, label_smoothing=0.1)


def labelled(rows: list[Encoded]) -> list[Encoded]:
    found = []
    for n, row in enumerate(rows):
        own, rival = TAILS if n % 2 else TAILS[::-1]
        share = (None, 0.75, 1 / 3)[n % 3]
        label: Label = "hate" if n % 2 else "normal"
        target = Target(label, 2, TAILS, (rival,), weight=1 + n % 3, share=share)
        if n % 5 == 4:  # an answer that goes on in neither way, as one without its rationale
            own, target = [12], replace(target, rivals=TAILS)
        found.append(replace(row, answer=[*row.answer[:2], *own, 13], target=target))
    return found


@FAMILIES
@PRECISIONS
@pytest.mark.parametrize("form", [*FORMS, "alone"])
@pytest.mark.usefixtures("exact_norms")
def test_the_gradient_of_a_label_objective_is_that_of_each_label_of_each_row_alone(
    family: str, dtype: torch.dtype, tolerance: float, form: str, request: pytest.FixtureRequest
) -> None:
    model, rows = model_of(request.getfixturevalue(family), dtype), labelled(ROWS)
    works = [plain_work(rows, ROOMY)] if form == "alone" else works_in(form, rows)
    loss = learner(model, LABEL).learn(works, count_losses(rows))
    ours = collected(model)
    assert relative_error(ours, labels_one_by_one(model, rows, LABEL)) <= tolerance
    halves = [
        learner(model, LABEL).learn([plain_work(rows[half::2], ROOMY)], count_losses(rows))
        for half in range(2)
    ]
    assert float(sum(halves)) == pytest.approx(float(loss), rel=1e-5)
    assert relative_error(ours, collected(model)) <= tolerance


def test_where_only_values_learn_the_keys_of_the_prefix_need_no_gradient(tiny_llama: Path) -> None:
    base = load_base(ModelConfig(name=str(tiny_llama), device="cpu"))
    values = LoraConfig(rank=4, alpha=8, dropout=0.0, target_modules=("v_proj",))
    model = moved(new_adapter(base, values, seed=1), torch.float64)
    learn(model, find_sharing(ROWS, ROOMY).work(ROWS), ROWS)
    assert relative_error(collected(model), one_by_one(model, ROWS)) <= 1e-5


def test_a_process_without_rows_learns_nothing(tiny_llama: Path) -> None:
    model = model_of(tiny_llama)
    assert float(learn(model, find_sharing([], ROOMY).work([]), ROWS)) == 0.0
    assert all(p.grad is None for p in model.parameters())


def packed_by_positions(*tokens: Any) -> None:
    """Give no mask: whoever packs by `position_ids` alone leaves it to the model."""


def test_packing_gpt_oss_by_positions_gives_another_gradient_and_is_refused(
    tiny_gpt_oss: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = asked("own", 0, [12, 5, 21, 9, 14, 30])
    model = model_of(tiny_gpt_oss)
    sharing = Sharing({}, ROOMY)
    assert check_gradients(model, rows, sharing).problem is None
    right = one_by_one(model, rows)
    monkeypatch.setattr(packing, "attention_masks", packed_by_positions)
    learn(model, sharing.work(rows), rows)
    wrong = collected(model)
    a, b = (torch.cat([g[name].flatten() for name in sorted(g)]) for g in (wrong, right))
    assert torch.cosine_similarity(a, b, dim=0) < 0.95
    assert "given other probabilities than alone" in str(
        check_gradients(model, rows, sharing).problem
    )


def seen_by_all(queries: Any, keys: Any, window: int | None = None) -> torch.Tensor:
    """Let every token see all before it, whichever row they are of."""
    return queries.position[:, None] >= keys.position[None, :]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_rows_that_see_each_other_are_found_out_whatever_fits_a_piece(
    batch_size: int, tiny_gpt_oss: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tiny_gpt_oss)
    sharing = find_sharing(ROWS, replace(ROOMY, batch_size=batch_size))
    assert check_gradients(model, ROWS, sharing).problem is None
    monkeypatch.setattr(packing, "visible_positions", seen_by_all)
    assert "given other probabilities than alone" in str(
        check_gradients(model, ROWS, sharing).problem
    )


@pytest.mark.parametrize("spoilt", [0, 1])
def test_packing_that_makes_a_number_none_is_found_out(
    spoilt: int, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = model_of(tiny_llama), asked("long", 40, [3, 30])
    logits_of = packing.logits_of

    def spoiling(*args: Any) -> torch.Tensor:
        logits = logits_of(*args)
        logits[-1 if spoilt else 0] = torch.nan
        return logits

    monkeypatch.setattr("hsd.training.step.logits_of", spoiling)
    assert "by nan nats" in str(check_gradients(model, rows, find_sharing(rows, ROOMY)).problem)


def test_a_model_that_refuses_masks_is_not_shared(tiny_llama: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    bloom = BloomForCausalLM(BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4))
    assert "takes no mask made elsewhere (ValueError)" in str(
        check_gradients(bloom, ROWS, find_sharing(ROWS, ROOMY)).problem
    )


def test_an_attention_that_takes_no_masks_is_not_shared(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tiny_llama)
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flash_attention_2")
    assert "takes no mask" in str(check_gradients(model, ROWS, find_sharing(ROWS, ROOMY)).problem)
