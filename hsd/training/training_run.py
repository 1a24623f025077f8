"""One training run: from a config to a folder with an adapter that can be trusted."""

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch.utils.tensorboard import SummaryWriter
from transformers.integrations import TensorBoardCallback

from hsd.config.run_record import recorded
from hsd.config.train_config import TrainConfig
from hsd.counted import counted
from hsd.errors import Stopped, TakenOver, TrainingError
from hsd.io.files import write_json
from hsd.io.lease import Lease, clear
from hsd.io.log_file import logging_to, threads_in_a_line
from hsd.io.manifest import ADAPTER, DONE, update_manifest
from hsd.io.progress import Progress, Say, silent, unsaid
from hsd.io.provenance import now
from hsd.io.stopping import StopRequest, stop_request
from hsd.model.adapter import export_adapter, move_adapter, new_adapter, take_weights
from hsd.model.base import Base, load_base
from hsd.model.describe import describe_base, trainable
from hsd.model.launcher import unseen
from hsd.model.memory import memory_error_as
from hsd.model.placement import place
from hsd.model.recompute import recompute_activations
from hsd.prompts.contract import save_contract
from hsd.training.arguments import arguments
from hsd.training.callbacks import Flow, MetricsLog
from hsd.training.checkpoints import BEST, Newest, damaged_best, newest_intact, remove_incomplete
from hsd.training.dataset import learned_from
from hsd.training.disk_space import require_space_for_checkpoints
from hsd.training.done_marker import done_facts, finished
from hsd.training.early_stopping import best_step
from hsd.training.find_existing import (
    claim_folder,
    require_same_finished_run,
    require_same_run,
)
from hsd.training.fit import refuse_hopeless
from hsd.training.objective import objective_of
from hsd.training.processes import (
    any_asked,
    as_the_first_sees,
    draw_apart,
    in_one_format,
    keep_frozen_at_home,
    leased,
    linked,
    said_in_a_line,
)
from hsd.training.selection import evaluations
from hsd.training.step_choices import StepChoices, choose_steps
from hsd.training.trainer import HsdTrainer
from hsd.training.training_plan import TrainingPlan, plan_training

log = logging.getLogger(__name__)


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
        where = counted(self.processes, "process", "processes")
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

    Raises Stopped when a signal ended it, with a checkpoint if a step was taken; InUseError while
    another process trains there; TrainingError when a loss or gradient is not a number, and what
    `prepare` raises.
    """
    started = time.monotonic()
    with stop_request() as request:
        plan = plan_training(config)
        with unseen(), said_in_a_line():
            return _trained(plan, progress, say, request, started)


def _trained(
    plan: TrainingPlan, progress: Progress, say: Say, request: StopRequest, started: float
) -> Trained:
    config, here = plan.config, plan.here
    folder = config.output_dir
    if (folder / DONE).exists():
        return _finished(plan)
    require_same_run(plan)
    require_space_for_checkpoints(config, plan.adapter_parameters)
    state = linked(here, plan.placement.device)
    plan = in_one_format(plan)
    with leased(folder, here, request) as lease:
        if as_the_first_sees((folder / DONE).exists()):  # by who had the lease a moment ago
            return _finished(plan)
        return _learned(plan, state, lease, progress, say, request, started)


def _finished(plan: TrainingPlan) -> Trained:
    require_same_finished_run(plan)
    folder = plan.config.output_dir
    if plan.here.is_main:
        clear(folder, "hsd train")  # of one that was killed right before its end
    return Trained(folder=folder, skipped=True, **finished(folder))


def _learned(
    plan: TrainingPlan,
    state: PartialState,
    lease: Lease | None,
    progress: Progress,
    say: Say,
    request: StopRequest,
    started: float,
) -> Trained:
    config, here, folder = plan.config, plan.here, plan.config.output_dir
    for note in plan.notes():
        say(note)
    if doubt := refuse_hopeless(plan):
        say(f"Warning: {doubt}")
    _require_not_stopped(request, state)
    with _memory_in_a_line(config):
        base = load_base(plan.model, plan.source, plan.placement)
        described = describe_base(
            base
        )  # before an adapter is put into it, which would be counted too
        model = new_adapter(base, config.lora, config.seed)
        if plan.ancestor:
            take_weights(model, base, plan.ancestor.folder)
        choices = choose_steps(model, base, plan)
    _require_not_stopped(request, state)
    _claim(plan, state)
    for note in plan.rows.notes:
        say(f"Warning: {note}")
    for sentence in choices.sentences():
        say(sentence)
    newest = as_the_first_sees(newest_intact(folder) if here.is_main else None)
    if newest.refusal:
        raise TrainingError(newest.refusal)
    checkpoint = newest.checkpoint
    for note in newest.notes:
        say(f"Warning: {note}")
    with (
        logging_to(folder / "training.log", enabled=here.is_main),
        threads_in_a_line(),
        _recorded(plan, base, described, model, choices, newest, started)
        if here.is_main
        else nullcontext(),
        _memory_in_a_line(config, choices.recompute.on),
    ):
        return _run(plan, base, model, choices, checkpoint, request, lease, progress)


def _require_not_stopped(request: StopRequest, state: PartialState) -> None:
    """Raise Stopped on all ranks when a stop was asked for while the run was planned or loaded."""
    if any_asked(request, state.device):
        if taken_over := as_the_first_sees(request.lost):
            raise TakenOver(taken_over)
        raise Stopped(
            "stopped before the first step of this start; run the same command again to go on."
        )


def _memory_in_a_line(
    config: TrainConfig, recomputes: bool = False
) -> AbstractContextManager[None]:
    """Turn full memory into one line that says what would have worked."""
    more = "" if recomputes else "training.gradient_checkpointing=true, or "
    whose = "this machine's" if place(config.model).device == "cpu" else "the GPU's"
    return memory_error_as(
        TrainingError(
            f"{whose} memory is full; set training.batch_size lower and training.accumulation "
            f"higher, or {more}a smaller data.max_length."
        )
    )


def _claim(plan: TrainingPlan, state: PartialState) -> None:
    """Claim the folder on one rank, then look on the others: all of them go on, or none."""
    try:
        if plan.here.is_main:
            claim_folder(plan)
    finally:
        state.wait_for_everyone()
    claim_folder(plan)


def _recorded(
    plan: TrainingPlan,
    base: Base,
    described: Mapping[str, Any],
    model: Any,
    choices: StepChoices,
    newest: Newest,
    started: float,
) -> AbstractContextManager[None]:
    config, schedule, facts = plan.config, plan.schedule, plan.rows.facts()
    processes = plan.here.world_size
    log.info("base %s on %s (%s)", base.source.name, base.placement.device, base.placement.reason)
    log.info("weights: %s (%s)", base.quantization.method, base.quantization.reason)
    for sentence in (*plan.notes(), *choices.sentences()):
        log.info("%s", sentence)
    if tested := choices.self_test_sentence:
        log.info("%s", tested)
    if plan.rows.prompt_note:
        log.info("prompt: %s", plan.rows.prompt_note)
    for note in (*newest.notes, *plan.rows.notes):
        log.warning("%s", note)
    log.info(
        "%d rows, %d steps of %d rows, %d %s, %d evaluations; %d posts cut",
        schedule.rows, schedule.total_steps, schedule.rows_per_step,
        processes, "process" if processes == 1 else "processes", schedule.evaluations,
        facts["train"]["posts_cut"],
    )  # fmt: skip
    remove_incomplete(config.output_dir)
    save_contract(config.output_dir, plan.rows.contract)
    return recorded(
        config.output_dir,
        "train",
        config,
        gpus=0 if base.placement.device == "cpu" else processes,
        since=started,
        resumed_from=newest.checkpoint.name if newest.checkpoint else None,
        data=facts,
        learned_from=learned_from(config.data),
        init_from=plan.ancestor.facts() if plan.ancestor else None,
        base=described,
        adapter=trainable(model),
        mixed_precision=plan.mixed_precision,
        launcher_not_followed=plan.not_followed,
        prefix_sharing=choices.computing.facts(),
        gradient_checkpointing=choices.recompute.facts(),
        processes=processes,
    )


def _run(
    plan: TrainingPlan,
    base: Base,
    model: Any,
    choices: StepChoices,
    checkpoint: Path | None,
    request: StopRequest,
    lease: Lease | None,
    progress: Progress,
) -> Trained:
    config, schedule, folder = plan.config, plan.schedule, plan.config.output_dir
    keep_frozen_at_home(model)
    if choices.recompute.on:
        recompute_activations(model, on=True)
    trainer = HsdTrainer(
        args=arguments(plan, base),
        model=model,
        train_rows=plan.rows.train,
        validation_rows=plan.rows.validation,
        schedule=schedule,
        work=choices.computing.work,
        pad_id=base.tokenizer.pad_token_id or 0,
        objective=objective_of(config.training),
        scorer=plan.scorer,
        loraplus_lr_ratio=config.lora.loraplus_lr_ratio,
        on_validation=lambda done, total: progress(done, total, "validation rows"),
    )
    draw_apart(config.seed, plan.here.rank)
    flow = Flow(trainer, schedule, config, request, lease)
    trainer.add_callback(flow)
    trainer.add_callback(MetricsLog(trainer, schedule, progress, request))
    if plan.here.is_main:
        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(folder / "tensorboard"))))
    _learn(trainer, flow, checkpoint)
    if flow.taken_over:
        trainer.accelerator.wait_for_everyone()
        raise TakenOver(flow.taken_over)
    if flow.stopped_by_request:
        # A launcher ends the others soon after the first rank: not while it still writes.
        trainer.accelerator.wait_for_everyone()
        raise Stopped(
            f"stopped after step {trainer.state.global_step} of {schedule.total_steps}; a complete "
            f"checkpoint is in {folder}. Run the same command again to go on."
        )
    return _finish(folder, plan, trainer, flow)


def _learn(trainer: HsdTrainer, flow: Flow, checkpoint: Path | None) -> None:
    """Train from the checkpoint on, unless it was the run's last: then nothing is left to do."""
    if checkpoint is not None:
        trainer.take(checkpoint)
        if flow.is_over(trainer.state):
            return
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _finish(folder: Path, plan: TrainingPlan, trainer: HsdTrainer, flow: Flow) -> Trained:
    state = trainer.state
    losses = dict(evaluations(state.log_history))
    stopping, selection = plan.config.early_stopping, plan.config.selection
    judged = evaluations(state.log_history, selection)
    best = best_step(judged, stopping.min_delta if stopping else 0.0)
    result = Trained(
        folder=folder,
        processes=plan.here.world_size,
        steps=state.global_step,
        exported_step=state.global_step if best is None else best,
        validation_loss=None if best is None else losses[best],
        chosen_by=selection.metric,
        stopped_early=flow.patience_is_over(state),
    )
    if plan.here.is_main:
        if best is None:
            export_adapter(trainer.accelerator.unwrap_model(trainer.model), folder)
        else:
            _require_best(folder, best)
            move_adapter(folder / BEST, folder)
        facts = _facts(result)
        update_manifest(folder, result=facts, finished=now())
        write_json(folder / DONE, done_facts(folder, facts))
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


def _require_best(folder: Path, step: int) -> None:
    """Raise TrainingError where the best adapter so far is not what was written at that step."""
    found = damaged_best(folder, step)
    if found is None and not (folder / BEST / ADAPTER).is_file():
        found = f"{folder / BEST / ADAPTER} is missing"
    if found:
        raise TrainingError(
            f"{found}, and the adapter to keep is that of step {step}. Run the same command again, "
            f"without the checkpoints from step {step} on: it is made once more."
        )
