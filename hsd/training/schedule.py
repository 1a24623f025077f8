"""The steps of a run, worked out and checked before anything is loaded."""

from dataclasses import dataclass
from math import ceil

from hsd.config.train_config import EarlyStoppingConfig, TrainConfig
from hsd.errors import PreflightError


@dataclass(frozen=True, slots=True)
class Schedule:
    """Counts in optimiser steps. `rows_per_step` is over all processes."""

    rows: int
    rows_per_step: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    evaluate_every: int | None
    save_every: int

    def evaluates_at(self, step: int) -> bool:
        """Return whether the validation rows are judged after this step."""
        if self.evaluate_every is None:
            return False
        return step % self.evaluate_every == 0 or step == self.total_steps

    def saves_at(self, step: int) -> bool:
        """Return whether a checkpoint is written after this step."""
        return step % self.save_every == 0 or step == self.total_steps

    @property
    def evaluations(self) -> int:
        """How often the validation rows are judged."""
        return sum(self.evaluates_at(step + 1) for step in range(self.total_steps))


def plan_schedule(config: TrainConfig, rows: int, validation_rows: int, processes: int) -> Schedule:
    """Return the schedule of a run over `rows` rows.

    Raises PreflightError for a warm-up that never ends, and for an early stopping that cannot
    stop anything.
    """
    training = config.training
    batches = ceil(ceil(rows / training.batch_size) / processes)
    steps_per_epoch = ceil(batches / training.accumulation)
    total = training.max_steps or ceil(training.epochs * steps_per_epoch)
    share = min(ceil(training.warmup_ratio * total), total - 1)  # a share never outlasts the run
    every = training.evaluate_every_steps or steps_per_epoch
    schedule = Schedule(
        rows=rows,
        rows_per_step=training.own_rows * processes,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        warmup_steps=share if training.warmup_steps is None else training.warmup_steps,
        evaluate_every=every if validation_rows else None,
        save_every=training.save_every_steps or every,
    )
    _check(schedule, config.early_stopping)
    return schedule


def _check(schedule: Schedule, stopping: EarlyStoppingConfig | None) -> None:
    total = schedule.total_steps
    if schedule.warmup_steps >= total:
        raise PreflightError(
            f"training.warmup_steps: a warm-up of {schedule.warmup_steps} steps never ends in a "
            f"run of {total} steps; set fewer, or more epochs."
        )
    if stopping is None:
        return
    if schedule.evaluate_every is None:
        raise PreflightError(
            "early_stopping needs validation rows; set data.validation_file, or drop it."
        )
    every, patience = schedule.evaluate_every, patience_steps(stopping, schedule)
    earliest = every + ceil(patience / every) * every  # the first evaluation can be the best
    if earliest >= total:
        raise PreflightError(
            f"early_stopping cannot fire: with an evaluation every {every} steps and a patience "
            f"of {patience} steps it stops at step {earliest} at the earliest, and the run ends "
            f"at step {total}. Set a smaller patience, evaluate more often, or drop it."
        )


def patience_steps(stopping: EarlyStoppingConfig, schedule: Schedule) -> int:
    """Return the patience in optimiser steps."""
    return stopping.patience * (schedule.steps_per_epoch if stopping.unit == "epochs" else 1)
