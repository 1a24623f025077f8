"""What one optimiser step learns from: the right rows, with the gradient of each as if alone."""

import math
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from accelerate.data_loader import BatchSamplerShard
from gradients import (
    FAMILIES,
    PRECISIONS,
    Gradients,
    exact_norms,
    moved,
    one_by_one,
    relative_error,
)
from torch.utils.data import BatchSampler

from hsd.config.train_config import TrainConfig
from hsd.errors import TrainingError
from hsd.io.json_reader import read_json
from hsd.model.adapter import new_adapter
from hsd.prompts.render import Encoded, Target
from hsd.training import training_run as training
from hsd.training.batches import PADDING, StepSampler, epoch_order
from hsd.training.schedule import plan_schedule
from hsd.training.trainer import HsdTrainer, _readable
from hsd.training.training_run import train
from hsd.training.validation import validation_scores

pytestmark = pytest.mark.model

__all__ = ["exact_norms"]


@FAMILIES
@PRECISIONS
@pytest.mark.parametrize("sharing", ["on", "off"])
@pytest.mark.usefixtures("exact_norms")
def test_a_steps_gradient_is_that_of_its_rows_one_by_one(
    family: str,
    dtype: torch.dtype,
    tolerance: float,
    sharing: str,
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

    monkeypatch.setattr(training, "HsdTrainer", Watched)
    monkeypatch.setattr(training, "new_adapter", lambda *args: moved(new_adapter(*args), dtype))
    config = small_runs.config(
        request.getfixturevalue(family),
        tmp_path,
        validation=0,
        lora={"dropout": 0.0},
        training={
            "batch_size": 3,
            "accumulation": 4,
            "epochs": 1,
            "prefix_sharing": sharing,
        },
    )
    run = train(config).folder
    assert read_json(run / "manifest.json")["prefix_sharing"]["shared"] is (sharing == "on")
    ((ours, alone),) = seen
    assert all(gradient.abs().max() > 0 for gradient in alone.values())
    assert relative_error(ours, alone) <= tolerance


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
    planned = plan_schedule(
        TrainConfig(training={"batch_size": batch_size, "accumulation": accumulation, "epochs": 9}),
        rows, 0, processes,
    )  # fmt: skip
    lengths = [7 * n % 5 for n in range(rows)]
    share = batch_size * accumulation
    sampler = StepSampler(lengths, planned.rows_per_step, processes, 5, epoch=lambda: 0)
    assert len(list(sampler)) == len(sampler)
    batches = BatchSampler(sampler, share, drop_last=False)
    shards = [list(batches)]
    if processes > 1:
        shards = [list(BatchSamplerShard(batches, processes, rank)) for rank in range(processes)]
    assert {len(shard) for shard in shards} == {len(shards[0])}  # else ranks wait for each other
    steps = [[row for batch in batches for row in batch] for batches in zip(*shards, strict=True)]
    assert len(steps) == planned.steps_per_epoch
    shuffled = epoch_order([0] * rows, 1, 1, seed=5, epoch=0)
    for number, step in enumerate(steps):
        expected = shuffled[number * planned.rows_per_step :][: planned.rows_per_step]
        assert sorted(row for row in step if row != PADDING) == sorted(expected)


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
    planned = plan_schedule(
        TrainConfig(training={"batch_size": batch_size, "accumulation": accumulation, "epochs": 2}),
        rows, 0, 1,
    )  # fmt: skip
    assert counted == [(2, planned.steps_per_epoch, planned.total_steps)]
    assert trained.steps == planned.total_steps
    assert small_runs.metrics(trained.folder)[-1]["epoch"] == 2.0


# Validation

HATE, NORMAL, OPEN, STOP = 3, 4, 5, 2
TAILS = ([HATE, STOP], [NORMAL, STOP])


def row(id: str, label: int, share: float | None = None) -> Encoded:
    rival = TAILS[1] if label == HATE else TAILS[0]
    target = Target("hate" if label == HATE else "normal", 1, TAILS, (rival,), share=share)
    return Encoded(id, [1], [OPEN, label, STOP], target=target)


def said(*rows: tuple[float, float]) -> torch.Tensor:
    """Return what rows said: the opening, their own label and its end, then the other one."""
    return torch.tensor([[-1.0, own, -0.5, rival, -0.25] for own, rival in rows]).flatten()


def test_a_row_is_right_when_its_label_is_the_likelier_one_taken_whole() -> None:
    rows = [row("hate", HATE), row("normal", NORMAL), row("close", NORMAL)]
    judged = validation_scores(said((-1, -2), (-2, -1), (-1, -1.1)), rows)
    assert (judged.rows, judged.right, judged.tokens) == (3, 1.0, 9.0)  # .25 apart at the ends
    assert [id for id, _ in judged.scores] == ["hate", "normal", "close"]
    assert judged.scores[0][1] == pytest.approx(1 / (1 + math.exp(-(-1.5 + 2.25))))


def test_losses_of_a_judged_piece_are_sums_over_tokens_and_over_rows() -> None:
    judged = validation_scores(said((-1, -1), (-1, -1)), [row("a", HATE), row("b", NORMAL)])
    assert judged.answer_loss == pytest.approx(2 * 2.5)
    assert judged.label_loss == pytest.approx(2 * math.log(1 + math.exp(0.25)))


def test_a_share_of_annotators_is_what_the_label_loss_is_taken_against() -> None:
    (half,) = (
        validation_scores(said((-1, -1.25)), [row("a", HATE, share)]).label_loss for share in (0.5,)
    )
    assert half == pytest.approx(math.log(2))


def test_a_label_without_a_probability_makes_the_loss_none_even_where_the_answer_has_one() -> None:
    judged = validation_scores(said((-1, math.nan)), [row("bad", HATE)])
    assert math.isfinite(judged.answer_loss)
    assert math.isnan(judged.label_loss)


def test_memory_that_is_full_at_a_resume_is_no_damaged_checkpoint() -> None:
    with pytest.raises(torch.OutOfMemoryError), _readable(Path("checkpoint-4")):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(TrainingError, match="is damaged"), _readable(Path("checkpoint-4")):
        raise RuntimeError("invalid header")
