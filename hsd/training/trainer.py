"""transformers' Trainer with hsd's loss, order, validation and refusals; the loop is its own."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from hsd.errors import TrainingError
from hsd.io.files import write_json
from hsd.io.json_reader import read_object
from hsd.model.adapter import write_adapter
from hsd.model.adapter_weights import fill_adapter
from hsd.model.eval_mode import judging
from hsd.model.memory import is_memory_error
from hsd.prompts.render import Encoded
from hsd.training.batches import PADDING, RowIndices, StepSampler, as_batch
from hsd.training.checkpoints import mark_complete
from hsd.training.loraplus import LENGTHS, PLAIN_GROUPS, split_for_loraplus
from hsd.training.microbatches import StepPlan, length
from hsd.training.objective import LossCounts, Objective, count_losses
from hsd.training.processes import sum_gradients
from hsd.training.schedule import Schedule
from hsd.training.scoring import Scorer
from hsd.training.step import Learner, piece_log_probabilities
from hsd.training.validation import Judged, together, validation_scores

Tensors = dict[str, torch.Tensor]


class HsdTrainer(Trainer):
    """Learns the answers of encoded rows.

    The loss is that of the `objective` over the whole optimiser step, on all ranks. Validation
    rows have a target each; `scorer` makes metrics of their scores, where one selects.
    """

    def __init__(
        self,
        args: TrainingArguments,
        model: Any,
        train_rows: Sequence[Encoded],
        validation_rows: Sequence[Encoded],
        schedule: Schedule,
        work: Callable[[Sequence[Encoded]], list[StepPlan]],
        pad_id: int,
        objective: Objective,
        on_validation: Callable[[int, int], None],
        scorer: Scorer | None = None,
        loraplus_lr_ratio: float = 1.0,
    ) -> None:
        self.rows = train_rows
        self.validation_rows = validation_rows
        self.schedule = schedule
        self.work = work
        self.pad_id = pad_id
        self.objective = objective
        self.on_validation = on_validation
        self.scorer = scorer
        self.loraplus_lr_ratio = loraplus_lr_ratio
        self.tokens_seen = 0
        self._step_rows: list[str] = []
        self._bad_rows: list[tuple[float, list[str]]] = []
        self._loss_in_checkpoint: tuple[float, int] | None = None
        super().__init__(
            model=model,
            args=args,
            train_dataset=RowIndices(len(train_rows)),
            data_collator=as_batch,
        )
        self.remove_callback(PrinterCallback)  # metrics.jsonl and training.log have it

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        per_epoch = self.schedule.steps_per_epoch
        return StepSampler(
            [length(row) for row in self.rows],
            self.schedule.rows_per_step,
            self.accelerator.num_processes,
            self.args.seed,
            epoch=lambda: self.state.global_step // per_epoch,
        )

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return the adapter matrices; lengths (DoRA) would shrink the base itself."""
        names: list[str] = super().get_decay_parameter_names(model)
        return [name for name in names if LENGTHS not in name]

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the library's optimiser, with LoRA+ in a group of their own for the B matrices."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if self.loraplus_lr_ratio != 1.0 and len(optimizer.param_groups) == PLAIN_GROUPS:
            split_for_loraplus(optimizer, model or self.model, self.loraplus_lr_ratio)
        return optimizer

    def _get_num_items_in_batch(self, batch_samples: list[Tensors], device: Any) -> torch.Tensor:
        """Return the answer tokens and the rows of the step (2,), over all processes."""
        own = count_losses(row for batch in batch_samples for row in self._rows_of(batch))
        counts = torch.tensor([own.tokens, own.rows], device=device)
        whole: torch.Tensor = self.accelerator.reduce(counts, "sum")
        return whole

    def floating_point_ops(self, inputs: Tensors) -> int:
        """Return 0: the library would count the row numbers as tokens."""
        return 0

    def training_step(
        self, model: Any, inputs: Tensors, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Add the gradient of a whole optimiser step's share, and return its part of the loss.

        The Trainer's step is one batch of all the rows; how many of them are taken at once is
        worked out here. Gradients meet once, after the last backward: the wrapped model, which
        would send them at every one, is never called.
        """
        assert isinstance(num_items_in_batch, torch.Tensor)
        model.train()
        rows = self._rows_of(inputs)
        self._step_rows += [row.id for row in rows]
        self.tokens_seen += sum(map(length, rows))
        learner = Learner(
            self.accelerator.unwrap_model(model),
            self.pad_id,
            self.objective,
            self.compute_loss_context_manager,
            self.accelerator.backward,
            self._weighed,
        )
        loss = learner.learn(self.work(rows), LossCounts(*num_items_in_batch.tolist()))
        if self.accelerator.num_processes > 1:
            sum_gradients([p for p in model.parameters() if p.requires_grad])
        # The Trainer logs the mean over processes of what is a part of one sum.
        return loss * self.accelerator.num_processes

    def _rows_of(self, inputs: Tensors) -> list[Encoded]:
        return [self.rows[i] for i in inputs["row_index"].tolist() if i != PADDING]

    def _weighed(self, loss: torch.Tensor, rows: Sequence[Encoded]) -> torch.Tensor:
        """Return the loss; one that is no finite number becomes one that no gradient survives.

        Every process's gradient norm becomes NaN with it, so all of them stop at this step.
        """
        if torch.isfinite(loss):
            return loss
        self._bad_rows.append((loss.item(), self._not_finite_alone(rows)))
        return loss * torch.nan

    def _not_finite_alone(self, rows: Sequence[Encoded]) -> list[str]:
        """Name the rows behind it; in a piece one spoils the others. All of them, if none does."""
        alone = [StepPlan("alone", [], [[row] for row in rows], cost=0)]
        model = self.accelerator.unwrap_model(self.model)
        with self.compute_loss_context_manager():
            judged = piece_log_probabilities(model, alone, self.pad_id)
            bad = [row.id for (row,), said in judged if not said.isfinite().all()]
        return bad or [row.id for row in rows]

    def _clip_grad_norm(self, model: Any) -> Any:
        """Return the norm before clipping. Raises TrainingError when it is not a number."""
        norm = super()._clip_grad_norm(model)
        if not torch.isfinite(torch.as_tensor(norm)):
            raise self._not_a_number(float(norm))
        self._step_rows.clear()
        return norm

    def _not_a_number(self, norm: float) -> TrainingError:
        """Name the rows behind it, of whichever rank they are."""
        losses = gather_object(self._bad_rows)
        rows = [row for _, piece in losses for row in piece] or gather_object(self._step_rows)
        what = f"the loss is {losses[0][0]}" if losses else f"the gradient norm is {norm}"
        whose = "It comes from" if losses else "Rows of the step"
        shown = ", ".join(rows[:8])
        more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
        return TrainingError(
            f"step {self.state.global_step + 1}: {what}; the step was not taken. "
            f"{whose}: {shown}{more}. The checkpoints before it are good; try "
            "a lower training.learning_rate in another output_dir."
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return eval_loss (the objective's), eval_label_loss, eval_label_accuracy, and metrics.

        Each row is judged once, on one rank; padding a last batch with repeated rows, as the
        Trainer does, would shift the means.
        """
        judged = self._judge_own_share()
        sums = torch.tensor(judged.sums, dtype=torch.float64).to(self.args.device)
        answer, tokens, label, rows, right = self.accelerator.reduce(sums, "sum").tolist()
        metrics = {
            "eval_loss": self.objective.of_means(answer / tokens, label / rows),
            "eval_label_loss": label / rows,
            "eval_label_accuracy": right / rows,
        }
        if unread := [v for v in metrics.values() if not math.isfinite(v)]:
            raise TrainingError(
                f"step {self.state.global_step}: the validation loss is {unread[0]}. "
                "The checkpoints before it are good; try a lower training.learning_rate in "
                "another output_dir."
            )
        if self.scorer is not None:
            scores = list(judged.scores)
            several = self.accelerator.num_processes > 1
            metrics |= self.scorer.metrics(gather_object(scores) if several else scores)
        self.log(dict(metrics))
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _judge_own_share(self) -> Judged:
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        own = sorted(self.validation_rows, key=length)[rank::ranks]
        model = self.accelerator.unwrap_model(self.model)
        parts: list[Judged] = []
        with judging(model), self.compute_loss_context_manager():
            for rows, said in piece_log_probabilities(model, self.work(own), self.pad_id):
                parts.append(validation_scores(said, rows))
                self.on_validation(sum(int(part.rows) for part in parts), len(own))
        return together(parts)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        write_adapter(
            self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir)
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        fill_adapter(self.accelerator.unwrap_model(self.model), folder)
        with _readable(folder):
            logged = read_object(folder / self._loss_file())
            self._loss_in_checkpoint = (logged["loss"], logged["since_step"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _readable(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _readable(checkpoint):
            super()._load_rng_state(checkpoint)

    def take(self, checkpoint: Path) -> None:
        """Take a checkpoint's adapter and state, to go no further."""
        self._load_from_checkpoint(str(checkpoint))
        with _readable(checkpoint):
            self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))

    def restore_loss(self) -> None:
        """Go on with the sum of losses since the last log, which the Trainer would forget."""
        if self._loss_in_checkpoint is not None:
            loss, since_step = self._loss_in_checkpoint
            self._tr_loss += loss
            self._globalstep_last_logged = since_step

    def _save_rng_state(self, output_dir: str) -> None:
        """Save what each rank has of its own: random numbers, and its losses since the log."""
        super()._save_rng_state(output_dir)
        logged = {"loss": self._tr_loss.item(), "since_step": self._globalstep_last_logged}
        write_json(Path(output_dir) / self._loss_file(), logged)

    def _loss_file(self) -> str:
        return f"loss_{self.accelerator.process_index}.json"

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise TrainingError(
                f"{self.args.output_dir}: the checkpoint of step {self.state.global_step} cannot "
                f"be written ({reason}); free some space and run the same command again, which "
                "goes on from the checkpoint before."
            ) from error
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            step = self.state.global_step
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{step}", step)


@contextmanager
def _readable(checkpoint: Path | str | None) -> Iterator[None]:
    """Turn what torch and transformers raise for a damaged file of a checkpoint into one line.

    Digests find such a file before, but a checkpoint of an earlier hsd has none.
    """
    try:
        yield
    except (EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError, UnpicklingError) as e:
        if is_memory_error(e):
            raise
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise TrainingError(
            f"{checkpoint}: a file of this checkpoint is damaged ({reason}); remove its folder, "
            "and the same command goes on from the checkpoint before."
        ) from e
