"""One optimiser step of each trainer on the same rows, with its loss and its gradient."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback

from benchmarks.bases import LORA, SHIPPED
from benchmarks.measure import Meter
from benchmarks.rows import Rows
from hsd.config.train_config import DataConfig, TrainConfig, TrainingConfig
from hsd.model.adapter import new_adapter
from hsd.model.base import Base
from hsd.prompts.render import Encoded
from hsd.training.arguments import arguments
from hsd.training.objective import Objective
from hsd.training.prefix_sharing import choose_sharing
from hsd.training.trainer import HsdTrainer
from hsd.training.training_plan import plan_training

LEARNING_RATE = 1e-5
BATCH = 4
UNCLIPPED = 1e9
IGNORED = -100

Gradient = dict[str, torch.Tensor]


class OneStep(TrainerCallback):
    """Measures a Trainer's step from its first row to its end, and keeps its gradient."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.gradient: Gradient = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.meter.start()

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self.gradient = gradient_of(model)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.meter.stop()


def step(contender: str, base: Base, rows: Rows, reference: Path, work: Path) -> dict[str, Any]:
    """Return the cost, loss and gradient error of one optimiser step on all rows."""
    model = adapted(base)
    warm_up(model)
    meter = Meter()
    loss, gradient = CONTENDERS[contender](base, model, rows, meter, work)
    assert meter.cost is not None
    facts = asdict(meter.cost) | {"loss": loss, "tokens": sum(map(_length, rows.encoded))}
    if contender == "one_by_one":
        torch.save(gradient, reference)
    elif reference.exists():
        facts["gradient_error"] = relative_error(gradient, torch.load(reference))
    return facts


def adapted(base: Base) -> Any:
    """Return the base with an adapter in mid-training: of a fresh one half the gradient is 0."""
    model = new_adapter(base, LORA, seed=1)
    random = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0.0, 0.02, generator=random)
    return model


def warm_up(model: Any) -> None:
    """Run a few tokens forward and back: libraries set themselves up in their first call."""
    ids = torch.arange(3, 67).view(2, 32)
    model.train()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    model.zero_grad()


def gradient_of(model: Any) -> Gradient:
    """Return a copy of the adapter's gradient by name."""
    named = ((n.replace("module.", ""), p.grad) for n, p in model.named_parameters())
    return {name: grad.detach().clone() for name, grad in named if grad is not None}


def relative_error(found: Mapping[str, torch.Tensor], expected: Gradient) -> float:
    """Return the length of the difference by the length of what is expected, in float64."""
    assert found.keys() == expected.keys(), "gradients of other parameters"
    off = sum(float((found[n].double() - expected[n].double()).pow(2).sum()) for n in expected)
    whole = sum(float(expected[n].double().pow(2).sum()) for n in expected)
    return float((off / whole) ** 0.5)


def _length(row: Encoded) -> int:
    return len(row.prompt) + len(row.answer)


def _one_by_one(
    base: Base, model: Any, rows: Rows, meter: Meter, work: Path
) -> tuple[float, Gradient]:
    """What all others must agree with: each row alone, in plain PyTorch."""
    tokens, total = sum(len(row.answer) for row in rows.encoded), 0.0
    meter.start()
    for row in rows.encoded:
        ids = torch.tensor([row.prompt + row.answer])
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(row.answer) + 1).logits
        loss = cross_entropy(logits[0, :-1], torch.tensor(row.answer), reduction="sum") / tokens
        loss.backward()
        total += loss.item()
    meter.stop()
    return total, gradient_of(model)


def _hsd(
    sharing: str, base: Base, model: Any, rows: Rows, meter: Meter, work: Path
) -> tuple[float, Gradient]:
    """hsd's own Trainer, put together as a run does it."""
    count = len(rows.encoded)
    config = TrainConfig(
        model={"name": base.source.name, "device": "cpu"},
        lora=LORA,
        data=DataConfig(train_file="embedded", max_train_rows=count),
        prompt=SHIPPED,
        training=TrainingConfig(
            max_steps=1, batch_size=BATCH, accumulation=max(1, count // BATCH), warmup_steps=0,
            learning_rate=LEARNING_RATE, max_grad_norm=UNCLIPPED, prefix_sharing=sharing,
        ),
        output_dir=work / "hsd",
    )  # fmt: skip
    prepared = plan_training(config)
    learned = replace(prepared.rows, contract=rows.contract, train=rows.encoded, validation=[])
    prepared = replace(prepared, rows=learned)
    computing = choose_sharing(model, prepared.config, prepared.rows)
    trainer = HsdTrainer(
        args=arguments(prepared, base),
        model=model,
        train_rows=learned.train,
        validation_rows=[],
        schedule=prepared.schedule,
        work=computing.work,
        pad_id=base.tokenizer.pad_token_id or 0,
        objective=Objective(),
        on_validation=lambda done, total: None,
    )
    return _run(trainer, meter)


def _trl(
    settings: Mapping[str, Any],
    compact_head: bool,
    base: Base,
    model: Any,
    rows: Rows,
    meter: Meter,
    work: Path,
) -> tuple[float, Gradient]:
    """TRL's trainer on the same tokens; it learns the answers alone, as in prompt-completion."""
    import trl.trainer.utils
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    if compact_head:
        # What it does on CUDA: the head runs on the positions that are learned, not on all.
        trl.trainer.utils._use_triton = lambda device: True
    dataset = Dataset.from_list(
        [
            {
                "input_ids": row.prompt + row.answer,
                "labels": [IGNORED] * len(row.prompt) + row.answer,
            }
            for row in rows.encoded
        ]
    )
    args = SFTConfig(
        output_dir=str(work / "trl"),
        max_steps=1,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=max(1, len(rows.encoded) // BATCH),
        learning_rate=LEARNING_RATE,
        max_grad_norm=UNCLIPPED,
        bf16=False,  # its default; all contenders compute in float32
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **settings,
    )
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=dataset, processing_class=base.tokenizer
    )
    return _run(trainer, meter)


def _run(trainer: Any, meter: Meter) -> tuple[float, Gradient]:
    """Return the loss of the trainer's one step (the sum of its parts) and its gradient."""
    losses: list[float] = []
    one_part = trainer.training_step

    def counted(*args: Any, **kwargs: Any) -> Any:
        loss = one_part(*args, **kwargs)
        losses.append(float(loss))
        return loss

    trainer.training_step = counted
    measured = OneStep(meter)
    trainer.add_callback(measured)
    trainer.train()
    return sum(losses), measured.gradient


LEAN = {"gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"}

Contender = Callable[[Base, Any, Rows, Meter, Path], tuple[float, Gradient]]
CONTENDERS: dict[str, Contender] = {
    "one_by_one": _one_by_one,
    "hsd": lambda *on: _hsd("auto", *on),
    "hsd_off": lambda *on: _hsd("off", *on),
    "trl_defaults": lambda *on: _trl({}, False, *on),
    "trl_best": lambda *on: _trl(LEAN, False, *on),
    "trl_cuda_head": lambda *on: _trl(LEAN, True, *on),
}


def take(rows: Rows, count: int) -> Rows:
    """Return `count` rows from all over the lengths there are."""
    every = max(1, len(rows.encoded) // count)
    return replace(rows, encoded=rows.encoded[::every][:count])
