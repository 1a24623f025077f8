"""What one optimiser step learns from: the right rows, with the gradient of each as if alone."""

from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from hsd.config.train import TrainConfig
from hsd.prompts.render import Encoded
from hsd.training import run as training
from hsd.training.batches import IGNORED, PADDING, StepSampler, epoch_order
from hsd.training.run import train
from hsd.training.schedule import plan
from hsd.training.trainer import HsdTrainer, answer_logits, judge

pytestmark = pytest.mark.model

Gradients = dict[str, torch.Tensor]


def one_by_one(model: Any, rows: list[Encoded]) -> Gradients:
    """Return the gradient of the token-mean loss, from whole rows without padding or batches."""
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    total: Gradients = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for row in rows:
        ids = torch.tensor([row.prompt + row.answer])
        logits = model(input_ids=ids).logits[0, len(row.prompt) - 1 : -1]
        loss = cross_entropy(logits, torch.tensor(row.answer), reduction="sum")
        for name, gradient in zip(
            weights, torch.autograd.grad(loss, list(weights.values())), strict=True
        ):
            total[name] += gradient
    tokens = sum(len(row.answer) for row in rows)
    return {name: gradient / tokens for name, gradient in total.items()}


def normed(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    """RMSNorm in the format of its input; transformers' own always goes through float32."""
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
    return norm.weight * (hidden * scale)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["fp32", "fp64"]
)
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt_oss"])
def test_a_steps_gradient_is_that_of_its_rows_one_by_one(
    family: str,
    dtype: torch.dtype,
    tolerance: float,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Gradients, Gradients]] = []

    class Watched(HsdTrainer):
        def _clip_grad_norm(self, model: Any) -> Any:
            ours = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
            by_id = {row.id: row for row in self.rows}
            seen.append((ours, one_by_one(model, [by_id[name] for name in self._step_rows])))
            return super()._clip_grad_norm(model)

    original = training.new_adapter

    def moved(*args: Any) -> Any:
        """An adapter away from its start, where half of the gradients are zero."""
        model = original(*args).to(dtype)
        if dtype == torch.float64:
            model.config._experts_implementation = "eager"  # the grouped kernel takes no float64
        for name, weight in model.named_parameters():
            if "lora_B" in name and weight.device.type != "meta":
                torch.nn.init.normal_(weight, std=0.1)
        return model

    monkeypatch.setattr(training, "HsdTrainer", Watched)
    monkeypatch.setattr(training, "new_adapter", moved)
    for norm in (LlamaRMSNorm, GptOssRMSNorm):
        monkeypatch.setattr(norm, "forward", normed)
    # Batches of 3, 3, 3 and 2 rows of three lengths, padded on the left.
    config = small_runs.config(
        request.getfixturevalue(family),
        tmp_path,
        validation=0,
        lora={"dropout": 0.0},
        training={"batch_size": 3, "accumulation": 4, "epochs": 1},
    )
    train(config)
    ((ours, alone),) = seen
    flat = [torch.cat([g[name].flatten() for name in sorted(g)]) for g in (ours, alone)]
    assert all(gradient.abs().max() > 0 for gradient in alone.values())
    assert (flat[0] - flat[1]).norm() / flat[1].norm() <= tolerance


def test_a_batch_of_padding_alone_adds_nothing_but_keeps_every_weight_in_the_graph(
    tiny_llama: Path, tmp_path: Path
) -> None:
    from hsd.model.adapter import new_adapter
    from hsd.model.load import load_base
    from hsd.training.batches import Collator, Rows

    config = small_runs.config(tiny_llama, tmp_path)
    model = new_adapter(load_base(config.model), config.lora, seed=1)
    batch = Collator(0)([Rows([])[PADDING], Rows([])[PADDING]])
    logits, targets = answer_logits(model, batch)
    assert targets.shape == (2, 0)
    cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(gradient is not None and gradient.abs().max() == 0 for gradient in gradients)


SHAPES = [
    # rows, batch size, accumulation, processes
    (16, 4, 1, 1),
    (17, 4, 1, 1),
    (17, 4, 4, 1),
    (3, 4, 4, 1),
    (16, 4, 1, 2),
    (17, 4, 1, 2),
    (17, 2, 2, 2),
    (21, 2, 2, 4),
    (1, 2, 1, 2),
]


@pytest.mark.parametrize(("rows", "batch_size", "accumulation", "processes"), SHAPES)
def test_all_processes_together_take_each_row_once_and_each_step_the_shuffles_rows(
    rows: int, batch_size: int, accumulation: int, processes: int
) -> None:
    planned = plan(
        TrainConfig(training={"batch_size": batch_size, "accumulation": accumulation, "epochs": 9}),
        rows, 0, processes,
    )  # fmt: skip
    lengths = [7 * n % 5 for n in range(rows)]
    batches = _batches(lengths, planned, batch_size, processes)
    shards = [list(batches)]
    if processes > 1:
        shards = [list(BatchSamplerShard(batches, processes, rank)) for rank in range(processes)]
    assert {len(shard) for shard in shards} == {len(shards[0])}  # else ranks wait for each other
    steps = [
        [row for shard in shards for batch in shard[at : at + accumulation] for row in batch]
        for at in range(0, len(shards[0]), accumulation)
    ]
    assert len(steps) == planned.steps_per_epoch
    shuffled = epoch_order([0] * rows, 1, seed=5, epoch=0)
    for number, step in enumerate(steps):
        expected = shuffled[number * planned.rows_per_step :][: planned.rows_per_step]
        assert sorted(row for row in step if row != PADDING) == sorted(expected)


def _batches(lengths: list[int], planned: Any, size: int, processes: int) -> BatchSampler:
    multiple = size * processes if processes > 1 else 1
    sampler = StepSampler(lengths, planned.rows_per_step, 5, multiple, epoch=lambda: 0)
    return BatchSampler(sampler, size, drop_last=False)


@pytest.mark.parametrize(
    ("rows", "batch_size", "accumulation"), [shape[:3] for shape in SHAPES[:4]]
)
def test_the_schedule_counts_steps_as_the_trainer_does(
    rows: int,
    batch_size: int,
    accumulation: int,
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = []

    class Counting(HsdTrainer):
        def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
            values = super().set_initial_training_values(args, dataloader)
            epochs, per_epoch, *_, total = values
            counted.append((epochs, per_epoch, total))
            return values

    monkeypatch.setattr(training, "HsdTrainer", Counting)
    trained = train(
        small_runs.config(
            tiny_llama,
            tmp_path,
            rows=rows,
            validation=0,
            training={"batch_size": batch_size, "accumulation": accumulation, "epochs": 2},
        )
    )
    planned = plan(
        TrainConfig(training={"batch_size": batch_size, "accumulation": accumulation, "epochs": 2}),
        rows, 0, 1,
    )  # fmt: skip
    assert counted == [(2, planned.steps_per_epoch, planned.total_steps)]
    assert trained.steps == planned.total_steps
    assert small_runs.metrics(trained.folder)[-1]["epoch"] == 2.0


# Validation

HATE, NORMAL, OPEN, STOP, WORDS = 3, 4, 5, 2, 6


def logits_for(answers: list[list[int]]) -> torch.Tensor:
    """Return logits (rows, answer, vocab) that favour these tokens."""
    return 9.0 * torch.nn.functional.one_hot(torch.tensor(answers), WORDS).float()


def test_a_row_is_right_when_its_label_token_is_on_top_whatever_else_is_wrong() -> None:
    targets = torch.tensor(
        [
            [OPEN, HATE, STOP, STOP],
            [IGNORED, OPEN, NORMAL, STOP],  # a shorter answer, which ends in the same column
            [IGNORED, OPEN, NORMAL, STOP],
        ]
    )
    said = logits_for(
        [[OPEN, HATE, OPEN, OPEN], [OPEN, OPEN, NORMAL, STOP], [OPEN, OPEN, HATE, STOP]]
    )
    judged = judge(said, targets, label_position=1)
    assert (judged.rows, judged.right, judged.tokens) == (3, 2.0, 10.0)


def test_the_loss_of_a_judged_batch_is_a_sum_over_learned_tokens() -> None:
    targets = torch.tensor([[IGNORED, OPEN, HATE], [OPEN, HATE, STOP]])
    judged = judge(torch.zeros(2, 3, WORDS), targets, label_position=1)
    assert judged.loss == pytest.approx(5 * torch.log(torch.tensor(float(WORDS))).item())
