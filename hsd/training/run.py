"""One training run: from a config to a folder with an adapter that can be trusted."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.tensorboard import SummaryWriter
from transformers import TrainingArguments
from transformers.integrations import TensorBoardCallback

from hsd.config.train import TrainConfig
from hsd.errors import Stopped
from hsd.logs import logging_to
from hsd.model.adapter import export_adapter, move_adapter, new_adapter
from hsd.model.describe import describe, trainable
from hsd.model.load import Base, Source, find, load_base
from hsd.model.placement import Launch, launch, place
from hsd.progress import Progress, silent
from hsd.prompts.contract import save_contract
from hsd.runs import (
    claim,
    now,
    provenance,
    read_json,
    require_own,
    require_space,
    update_manifest,
    write_json,
)
from hsd.training.callbacks import BEST, Flow, MetricsLog, evaluations
from hsd.training.checkpoints import newest_complete, remove_incomplete
from hsd.training.early_stopping import best_step
from hsd.training.rows import TrainingRows, load_training_rows
from hsd.training.schedule import Schedule, plan
from hsd.training.signals import StopRequest, stop_request
from hsd.training.trainer import HsdTrainer

log = logging.getLogger(__name__)

DONE = "done.json"
"""Written last: a run with it is finished."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run. Steps are optimiser steps; `skipped` says it was finished before."""

    folder: Path
    steps: int
    exported_step: int
    validation_loss: float | None
    stopped_early: bool
    skipped: bool = False

    def sentences(self) -> list[str]:
        """Return what a person wants to know at the end."""
        ended = "early stopping ended it" if self.stopped_early else "all were taken"
        lines = [f"{self.steps} steps; {ended}." if not self.skipped else "Was finished before."]
        if self.validation_loss is not None:
            lines.append(
                f"Lowest validation loss {self.validation_loss:.4f}, at step {self.exported_step}; "
                "that adapter was kept."
            )
        return [*lines, f"Adapter: {self.folder}"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run knows before any weight is loaded."""

    config: TrainConfig
    source: Source
    rows: TrainingRows
    schedule: Schedule
    here: Launch

    def identity(self) -> dict[str, Any]:
        """Return what makes two runs the same one: everything that decides the adapter."""
        shown = self.config.model_dump(mode="json", exclude={"output_dir", "description"})
        shown["model"].pop("cache_dir")
        return {
            "kind": "train",
            "config": shown,
            "processes": self.here.world_size,
            "base_revision": self.source.revision,
            **self.rows.facts(),
        }


def prepare(config: TrainConfig) -> Prepared:
    """Read and check everything that can be without weights.

    Raises ConfigError, DataError, ModelError or PreflightError.
    """
    here = launch()
    source = find(config.model)
    rows = load_training_rows(config, source.tokenizer)
    schedule = plan(config, len(rows.train), len(rows.validation), here.world_size)
    return Prepared(config, source, rows, schedule, here)


def train(config: TrainConfig, progress: Progress = silent) -> Trained:
    """Train, or go on training, the run in `config.output_dir`.

    Raises Stopped when a signal ended it with a checkpoint, TrainingError when a loss or gradient
    is not a number, and what `prepare` raises.
    """
    prepared = prepare(config)
    folder = config.output_dir
    require_own(folder, prepared.identity())
    if (folder / DONE).exists():
        return _finished(folder)
    state = PartialState(cpu=place(config.model).device == "cpu")
    base = load_base(config.model, prepared.source)
    model = new_adapter(base, config.lora, config.seed)
    _require_space(config, model)
    if prepared.here.is_main:
        claim(folder, prepared.identity())
    state.wait_for_everyone()
    with (
        logging_to(folder / "training.log", enabled=prepared.here.is_main),
        stop_request() as request,
    ):
        return _run(prepared, base, model, request, progress)


def _require_space(config: TrainConfig, model: Any) -> None:
    """Weights and both moments of AdamW, in float32, for each checkpoint and one in the making."""
    parameters = trainable(model)["trainable_parameters"]
    needed_gb = parameters * 12 * (config.training.keep_checkpoints + 2) / 1e9
    require_space(config.output_dir, needed_gb, "keeping checkpoints")


def _run(
    prepared: Prepared, base: Base, model: Any, request: StopRequest, progress: Progress
) -> Trained:
    config, schedule = prepared.config, prepared.schedule
    folder = config.output_dir
    log.info("base %s on %s (%s)", base.source.name, base.placement.device, base.placement.reason)
    log.info(
        "%d rows, %d steps of %d rows, %d processes, %d evaluations",
        schedule.rows, schedule.total_steps, schedule.rows_per_step,
        prepared.here.world_size, schedule.evaluations,
    )  # fmt: skip
    trainer = HsdTrainer(
        args=_arguments(prepared, base),
        model=model,
        train_rows=prepared.rows.train,
        validation_rows=prepared.rows.validation,
        schedule=schedule,
        pad_id=base.tokenizer.pad_token_id or 0,
        label_position=prepared.rows.label_position,
        on_validation=lambda done, total: progress(done, total, "validation rows"),
    )
    flow = Flow(trainer, schedule, config.early_stopping, request, config.training.log_every_steps)
    trainer.add_callback(flow)
    trainer.add_callback(MetricsLog(trainer, schedule, progress))
    checkpoint = newest_complete(folder)
    if prepared.here.is_main:
        remove_incomplete(folder)
        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(folder / "tensorboard"))))
        _describe(folder, prepared, describe(base), trainable(model), checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if flow.stopped_by_request:
        raise Stopped(
            f"stopped after step {trainer.state.global_step} of {schedule.total_steps}; a complete "
            f"checkpoint is in {folder}. Run the same command again to go on."
        )
    return _finish(folder, prepared, trainer, flow)


def _arguments(prepared: Prepared, base: Base) -> TrainingArguments:
    training, on_gpu = prepared.config.training, base.placement.device != "cpu"
    checkpointing = training.gradient_checkpointing
    args = TrainingArguments(
        output_dir=str(prepared.config.output_dir),
        max_steps=prepared.schedule.total_steps,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        optim="adamw_torch",
        lr_scheduler_type=training.scheduler,
        warmup_steps=prepared.schedule.warmup_steps,
        max_grad_norm=training.max_grad_norm,
        bf16=on_gpu and base.placement.dtype == torch.bfloat16,
        gradient_checkpointing=on_gpu if checkpointing == "auto" else checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        seed=prepared.config.seed,
        use_cpu=not on_gpu,
        # The Flow callback decides all of these, from the schedule.
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        save_total_limit=training.keep_checkpoints + 1,
        logging_nan_inf_filter=False,  # a loss that is not a number must not look like a good one
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        ddp_find_unused_parameters=False,
    )
    # Without a launcher the Trainer would spread batches over all visible GPUs (DataParallel),
    # which changes the step; several GPUs are for `accelerate launch`.
    args._n_gpu = min(args.n_gpu, 1)
    return args


def _describe(
    folder: Path, prepared: Prepared, base: dict[str, Any], learned: dict[str, Any], resumed: Any
) -> None:
    config = prepared.config.model_dump(mode="json")
    write_json(folder / "config.json", config)
    save_contract(folder, prepared.rows.contract)
    manifest = folder / "manifest.json"
    starts = read_json(manifest).get("starts", []) if manifest.exists() else []
    start = {"at": now(), "resumed_from": resumed.name if resumed else None, **provenance()}
    update_manifest(
        folder,
        kind="train",
        config=config,
        seed=prepared.config.seed,
        data=prepared.rows.facts(),
        base=base,
        adapter=learned,
        processes=prepared.here.world_size,
        starts=[*starts, start],
    )


def _finish(folder: Path, prepared: Prepared, trainer: HsdTrainer, flow: Flow) -> Trained:
    state = trainer.state
    done = dict(evaluations(state.log_history))
    stopping = prepared.config.early_stopping
    best = best_step(list(done.items()), stopping.min_delta if stopping else 0.0)
    result = Trained(
        folder=folder,
        steps=state.global_step,
        exported_step=state.global_step if best is None else best,
        validation_loss=None if best is None else done[best],
        stopped_early=flow.stopped_early,
    )
    if prepared.here.is_main:
        if best is None:
            export_adapter(trainer.accelerator.unwrap_model(trainer.model), folder)
        else:
            move_adapter(folder / BEST, folder)
        facts = _facts(result)
        update_manifest(folder, result=facts, finished=now())
        write_json(folder / DONE, facts)
    trainer.accelerator.wait_for_everyone()
    return result


def _facts(result: Trained) -> dict[str, Any]:
    return {
        "steps": result.steps,
        "exported_step": result.exported_step,
        "validation_loss": result.validation_loss,
        "stopped_early": result.stopped_early,
    }


def _finished(folder: Path) -> Trained:
    return Trained(folder=folder, skipped=True, **read_json(folder / DONE))
