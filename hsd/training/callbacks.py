"""When a run validates, saves, stops and what it writes of itself."""

import json
import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from hsd.config.train_config import TrainConfig
from hsd.io.files import naming, write_jsonl
from hsd.io.json_reader import read_objects
from hsd.io.lease import Lease
from hsd.io.progress import Progress
from hsd.io.progress_file import ProgressFile
from hsd.io.stopping import StopRequest
from hsd.model.adapter import export_adapter
from hsd.training.checkpoints import put_best, remove_old
from hsd.training.early_stopping import best_step, should_stop
from hsd.training.history import METRICS
from hsd.training.processes import any_asked, as_the_first_sees
from hsd.training.schedule import Schedule, patience_steps
from hsd.training.selection import evaluations
from hsd.training.trainer import HsdTrainer

log = logging.getLogger(__name__)


class Flow(TrainerCallback):
    """Validates and saves by the schedule, keeps the best adapter, stops early or on request.

    Nothing of this is remembered here: all of it follows from the Trainer's own log, which its
    checkpoints carry, so that a resumed run decides as the uninterrupted one.
    """

    def __init__(
        self,
        trainer: HsdTrainer,
        schedule: Schedule,
        config: TrainConfig,
        request: StopRequest,
        lease: Lease | None = None,
    ) -> None:
        self.trainer, self.schedule, self.request = trainer, schedule, request
        self.lease = lease
        self.stopping, self.training = config.early_stopping, config.training
        self.selection = config.selection
        self.stopped_by_request = False
        self.taken_over: str | None = None
        """Who has the run's folder by now, in a sentence."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide what follows this optimiser step."""
        step, last = state.global_step, state.global_step == self.schedule.total_steps
        control.should_log = step % self.training.log_every_steps == 0 or last or step == 1
        control.should_evaluate = self.schedule.evaluates_at(step)
        control.should_save = self.schedule.saves_at(step)
        if self.lease and (control.should_evaluate or control.should_save or last):
            self.lease.renew()  # whoever is about to write much looks whether it still may
        if not any_asked(self.request, self.trainer.args.device):
            return
        self.taken_over = as_the_first_sees(self.request.lost)
        if self.taken_over:
            control.should_log = control.should_evaluate = control.should_save = False
            control.should_training_stop = True
        elif not last:
            self.stopped_by_request = True
            control.should_save = control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the adapter when it is the best yet; stop when patience is over."""
        done = evaluations(state.log_history, self.selection)
        delta = self.stopping.min_delta if self.stopping else 0.0
        if state.is_world_process_zero and best_step(done, delta) == state.global_step:
            model = self.trainer.accelerator.unwrap_model(self.trainer.model)
            put_best(
                Path(args.output_dir), state.global_step, lambda best: export_adapter(model, best)
            )
        if self.patience_is_over(state):
            control.should_training_stop = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Delete the checkpoints that are too many, now that the new one is whole."""
        if state.is_world_process_zero:
            remove_old(Path(args.output_dir), self.training.keep_checkpoints)

    def is_over(self, state: Any) -> bool:
        """Whether nothing is left to learn from this state on."""
        return state.global_step >= self.schedule.total_steps or self.patience_is_over(state)

    def patience_is_over(self, state: Any) -> bool:
        """Whether early stopping ends the run here; at the last step there is nothing to end."""
        if self.stopping is None or state.global_step >= self.schedule.total_steps:
            return False
        patience = patience_steps(self.stopping, self.schedule)
        done = evaluations(state.log_history, self.selection)
        return should_stop(done, patience, self.stopping.min_delta)


class MetricsLog(TrainerCallback):
    """Writes metrics.jsonl and training.log lines, and reports progress."""

    def __init__(
        self, trainer: HsdTrainer, schedule: Schedule, progress: Progress, request: StopRequest
    ) -> None:
        self.trainer, self.schedule, self.progress = trainer, schedule, progress
        self.request = request
        self._tokens, self._time = 0, time.monotonic()
        self._progress_file: ProgressFile | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop what an interrupted run logged after the checkpoint that goes on now."""
        if state.is_world_process_zero:
            kept = [row for row in _rows(self._file(args)) if row["step"] <= state.global_step]
            write_jsonl(self._file(args), kept)
        self.trainer.restore_loss()
        self._time = time.monotonic()
        self._progress_file = ProgressFile(Path(args.output_dir), "steps")
        self._report(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the step."""
        self._report(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say where the training stopped, also where it goes on later."""
        self._report(state, is_end=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Append one row; training rows get their speed in tokens a second over all ranks."""
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        row = {"step": state.global_step, **logs}
        if "loss" in logs:
            row["tokens_per_second"] = round(self._speed(), 1)
        path = self._file(args)
        with naming(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        log.info(" ".join(f"{name} {value:.6g}" for name, value in row.items()))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the time of the validation out of the speed."""
        self._speed()

    def _report(self, state: Any, *, is_end: bool = False) -> None:
        step, total = state.global_step, self.schedule.total_steps
        if not is_end:
            self.progress(step, total, "training")
        is_own = state.is_world_process_zero and not self.request.lost  # else it is another's
        if is_own and self._progress_file:
            self._progress_file(lambda: step, total, is_end=is_end)

    def _speed(self) -> float:
        tokens, at = self.trainer.tokens_seen, time.monotonic()
        speed = (tokens - self._tokens) / max(at - self._time, 1e-9)
        self._tokens, self._time = tokens, at
        return speed * float(self.trainer.accelerator.num_processes)

    def _file(self, args: Any) -> Path:
        return Path(args.output_dir) / METRICS


def _rows(file: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a log that a kill may have cut."""
    return read_objects(file) if file.exists() else []
