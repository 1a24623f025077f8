"""One training run: from a config to a folder with an adapter that can be trusted."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.tensorboard import SummaryWriter
from transformers.integrations import TensorBoardCallback

from hsd.config.train import TrainConfig
from hsd.errors import PreflightError, Stopped, TrainingError
from hsd.logs import logging_to
from hsd.model.adapter import export_adapter, move_adapter, new_adapter
from hsd.model.describe import describe, trainable
from hsd.model.load import Base, load_base
from hsd.model.placement import place
from hsd.progress import Progress, Say, silent, unsaid
from hsd.prompts.contract import save_contract
from hsd.record import recorded
from hsd.runs import claim, now, read_json, require_own, update_manifest, write_json
from hsd.stopping import StopRequest, stop_request
from hsd.training.arguments import arguments
from hsd.training.callbacks import BEST, Flow, MetricsLog
from hsd.training.checkpoints import newest_complete, remove_incomplete
from hsd.training.early_stopping import best_step
from hsd.training.prepared import Prepared, prepare
from hsd.training.processes import any_asked
from hsd.training.rows import learned_from
from hsd.training.selection import evaluations
from hsd.training.sharing import Computing, choose
from hsd.training.space import require_space_for_checkpoints
from hsd.training.trainer import HsdTrainer

log = logging.getLogger(__name__)

DONE = "done.json"
"""Written last: a run with it is finished."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run. Steps are optimiser steps; `skipped` says it was finished before."""

    folder: Path
    processes: int
    steps: int
    exported_step: int
    validation_loss: float | None
    stopped_early: bool
    chosen_by: str = "loss"
    skipped: bool = False

    def sentences(self) -> list[str]:
        """Return what a person wants to know at the end."""
        ended = "early stopping ended it" if self.stopped_early else "all were taken"
        where = "1 process" if self.processes == 1 else f"{self.processes} processes"
        steps = f"{self.steps} steps in {where}; {ended}."
        lines = [steps if not self.skipped else "Was finished before."]
        if self.validation_loss is not None:
            lines.append(
                f"Kept the adapter of step {self.exported_step}, with a validation loss of "
                f"{self.validation_loss:.4f}, the best{self._by}."
            )
        return [*lines, f"Adapter: {self.folder}"]

    @property
    def _by(self) -> str:
        return "" if self.chosen_by == "loss" else f" by {self.chosen_by}"


def train(config: TrainConfig, progress: Progress = silent, say: Say = unsaid) -> Trained:
    """Train, or go on training, the run in `config.output_dir`; `say` gets what was decided.

    Raises Stopped when a signal ended it, with a checkpoint if a step was taken; TrainingError
    when a loss or gradient is not a number, and what `prepare` raises.
    """
    with stop_request() as request:
        return _trained(config, progress, say, request)


def _trained(config: TrainConfig, progress: Progress, say: Say, request: StopRequest) -> Trained:
    started = time.monotonic()
    prepared = prepare(config)
    folder, here = config.output_dir, prepared.here
    require_own(folder, prepared.identity())
    if (folder / DONE).exists():
        return _finished(folder)
    require_space_for_checkpoints(config, prepared.adapter_parameters)
    state = _processes(prepared)
    _require_not_stopped(request, state)
    base = load_base(config.model, prepared.source)
    model = new_adapter(base, config.lora, config.seed)
    with _memory_in_a_line():
        computing = choose(model, prepared.config, prepared.rows)
    _require_not_stopped(request, state)
    _claim(prepared, state)
    say(computing.reason)
    checkpoint = newest_complete(folder)
    with (
        logging_to(folder / "training.log", enabled=here.is_main),
        _recorded(prepared, base, model, computing, checkpoint, started)
        if here.is_main
        else nullcontext(),
        _memory_in_a_line(),
    ):
        return _run(prepared, base, model, computing, checkpoint, request, progress)


def _require_not_stopped(request: StopRequest, state: PartialState) -> None:
    """Raise Stopped on all ranks when one was asked while it prepared or loaded."""
    if any_asked(request, state.device):
        raise Stopped(
            "stopped before the first step of this start; run the same command again to go on."
        )


@contextmanager
def _memory_in_a_line() -> Iterator[None]:
    """Turn a full GPU into one line that says what would have worked."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingError(
            "the GPU's memory is full; set training.batch_size lower and training.accumulation "
            "higher, or training.gradient_checkpointing=true, or a smaller data.max_length."
        ) from None


def _processes(prepared: Prepared) -> PartialState:
    """Return the link between the processes, once it has as many as the launcher started."""
    state = PartialState(cpu=place(prepared.config.model).device == "cpu")
    if state.num_processes != prepared.here.world_size:
        raise PreflightError(
            f"the launcher started {prepared.here.world_size} processes, but "
            f"{state.num_processes} found each other; use accelerate launch or torchrun."
        )
    return state


def _claim(prepared: Prepared, state: PartialState) -> None:
    """Claim the folder on one rank, then look on the others: all of them go on, or none."""
    try:
        if prepared.here.is_main:
            claim(prepared.config.output_dir, prepared.identity())
    finally:
        state.wait_for_everyone()
    claim(prepared.config.output_dir, prepared.identity())


def _recorded(
    prepared: Prepared,
    base: Base,
    model: Any,
    computing: Computing,
    checkpoint: Path | None,
    started: float,
) -> AbstractContextManager[None]:
    config, schedule, facts = prepared.config, prepared.schedule, prepared.rows.facts()
    processes = prepared.here.world_size
    log.info("base %s on %s (%s)", base.source.name, base.placement.device, base.placement.reason)
    log.info("weights: %s (%s)", base.quantization.method, base.quantization.reason)
    log.info("%s", computing.reason)
    if computing.sharing and computing.self_test:
        log.info("%s", computing.self_test.sentence())
    log.info(
        "%d rows, %d steps of %d rows, %d %s, %d evaluations; %d posts cut",
        schedule.rows, schedule.total_steps, schedule.rows_per_step,
        processes, "process" if processes == 1 else "processes", schedule.evaluations,
        facts["train"]["posts_cut"],
    )  # fmt: skip
    remove_incomplete(config.output_dir)
    save_contract(config.output_dir, prepared.rows.contract)
    return recorded(
        config.output_dir,
        "train",
        config,
        gpus=0 if base.placement.device == "cpu" else processes,
        since=started,
        resumed_from=checkpoint.name if checkpoint else None,
        data=facts,
        learned_from=learned_from(config.data),
        base=describe(base),
        adapter=trainable(model),
        prefix_sharing=computing.facts(),
        processes=processes,
    )


def _run(
    prepared: Prepared,
    base: Base,
    model: Any,
    computing: Computing,
    checkpoint: Path | None,
    request: StopRequest,
    progress: Progress,
) -> Trained:
    config, schedule, folder = prepared.config, prepared.schedule, prepared.config.output_dir
    trainer = HsdTrainer(
        args=arguments(prepared, base),
        model=model,
        train_rows=prepared.rows.train,
        validation_rows=prepared.rows.validation,
        schedule=schedule,
        work=computing.work,
        pad_id=base.tokenizer.pad_token_id or 0,
        label_position=prepared.rows.label_position,
        judge_rows=prepared.judge_rows,
        on_validation=lambda done, total: progress(done, total, "validation rows"),
    )
    flow = Flow(trainer, schedule, config, request)
    trainer.add_callback(flow)
    trainer.add_callback(MetricsLog(trainer, schedule, progress))
    if prepared.here.is_main:
        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(folder / "tensorboard"))))
    _learn(trainer, flow, checkpoint)
    if flow.stopped_by_request:
        # A launcher ends the others soon after the first rank: not while it still writes.
        trainer.accelerator.wait_for_everyone()
        raise Stopped(
            f"stopped after step {trainer.state.global_step} of {schedule.total_steps}; a complete "
            f"checkpoint is in {folder}. Run the same command again to go on."
        )
    return _finish(folder, prepared, trainer, flow)


def _learn(trainer: HsdTrainer, flow: Flow, checkpoint: Path | None) -> None:
    """Train from the checkpoint on, unless it was the run's last: then nothing is left to do."""
    if checkpoint is not None:
        trainer.take(checkpoint)
        if flow.is_over(trainer.state):
            return
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _finish(folder: Path, prepared: Prepared, trainer: HsdTrainer, flow: Flow) -> Trained:
    state = trainer.state
    losses = dict(evaluations(state.log_history))
    stopping, selection = prepared.config.early_stopping, prepared.config.selection
    judged = evaluations(state.log_history, selection)
    best = best_step(judged, stopping.min_delta if stopping else 0.0)
    result = Trained(
        folder=folder,
        processes=prepared.here.world_size,
        steps=state.global_step,
        exported_step=state.global_step if best is None else best,
        validation_loss=None if best is None else losses[best],
        chosen_by=selection.metric,
        stopped_early=flow.patience_is_over(state),
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
        "processes": result.processes,
        "steps": result.steps,
        "exported_step": result.exported_step,
        "validation_loss": result.validation_loss,
        "stopped_early": result.stopped_early,
        "chosen_by": result.chosen_by,
    }


def _finished(folder: Path) -> Trained:
    return Trained(folder=folder, skipped=True, **read_json(folder / DONE))
