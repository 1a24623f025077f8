"""transformers' Trainer with hsd's loss, order, validation and refusals; the loop is its own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from hsd.errors import TrainingError
from hsd.model.adapter import fill_adapter, write_adapter
from hsd.prompts.render import Encoded
from hsd.runs import read_json, write_json
from hsd.training.batches import IGNORED, PADDING, Collator, Rows, StepSampler
from hsd.training.checkpoints import mark_complete
from hsd.training.schedule import Schedule

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Judged:
    """Sums over rows: token losses, learned tokens, rows, rows whose label token was on top."""

    loss: float
    tokens: float
    rows: float
    right: float


class HsdTrainer(Trainer):
    """Learns the answers of encoded rows.

    The loss is the mean over the learned tokens of the whole optimiser step, on all ranks.
    `label_position` is the place in an answer of the token that tells hate from normal.
    """

    def __init__(
        self,
        args: TrainingArguments,
        model: Any,
        train_rows: Sequence[Encoded],
        validation_rows: Sequence[Encoded],
        schedule: Schedule,
        pad_id: int,
        label_position: int,
        on_validation: Callable[[int, int], None],
    ) -> None:
        self.rows = train_rows
        self.validation_rows = validation_rows
        self.schedule = schedule
        self.label_position = label_position
        self.on_validation = on_validation
        self.tokens_seen = 0
        self._step_rows: list[str] = []
        self._bad_batch: list[tuple[float, list[str]]] = []
        self._loss_in_checkpoint: tuple[float, int] | None = None
        super().__init__(
            model=model, args=args, train_dataset=Rows(train_rows), data_collator=Collator(pad_id)
        )
        self.remove_callback(PrinterCallback)  # metrics.jsonl and training.log have it
        # Our loss is already divided by the step's tokens; without this it is divided again.
        self.model_accepts_loss_kwargs = True

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        lengths = [len(row.prompt) + len(row.answer) for row in self.rows]
        processes, per_epoch = self.accelerator.num_processes, self.schedule.steps_per_epoch
        return StepSampler(
            lengths,
            self.schedule.rows_per_step,
            self.args.seed,
            multiple_of=self.args.per_device_train_batch_size * processes if processes > 1 else 1,
            epoch=lambda: self.state.global_step // per_epoch,
        )

    def compute_loss(
        self,
        model: Any,
        inputs: Tensors,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the batch's share of the step's token-mean loss.

        Logits are made for the answer's columns only: with a vocabulary of 201,088 the rest
        would be most of the memory.
        """
        rows = [self.rows[i].id for i in inputs.pop("row_index").tolist() if i != PADDING]
        self._step_rows += rows
        self.tokens_seen += int(inputs["attention_mask"].sum())
        logits, targets = answer_logits(model, inputs)
        total = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        items = num_items_in_batch if num_items_in_batch is not None else (targets != IGNORED).sum()
        # DDP averages gradients over ranks, and `items` counts the tokens of all of them.
        loss = total / items * self.accelerator.num_processes
        if not torch.isfinite(loss):
            self._bad_batch.append((loss.item(), rows))
            # Every rank's gradient norm becomes NaN with it, so all of them stop at this step.
            loss = loss * torch.nan
        return (loss, logits) if return_outputs else loss

    def _clip_grad_norm(self, model: Any) -> Any:
        """Return the norm before clipping. Raises TrainingError when it is not a number."""
        norm = super()._clip_grad_norm(model)
        if not torch.isfinite(torch.as_tensor(norm)):
            raise self._not_a_number(float(norm))
        self._step_rows.clear()
        return norm

    def _not_a_number(self, norm: float) -> TrainingError:
        """Name the rows behind it, of whichever rank they are."""
        losses = gather_object(self._bad_batch)
        rows = [row for _, batch in losses for row in batch] or gather_object(self._step_rows)
        what = f"the loss is {losses[0][0]}" if losses else f"the gradient norm is {norm}"
        shown = ", ".join(rows[:8])
        more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
        return TrainingError(
            f"step {self.state.global_step + 1}: {what}; the step was not taken. "
            f"Rows of the {'batch' if losses else 'step'}: {shown}{more}. The checkpoints before "
            "it are good; try a lower training.learning_rate in another output_dir."
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return eval_loss (token mean) and eval_label_accuracy over the validation rows.

        Each row is judged once, on one rank; padding a last batch with repeated rows, as the
        Trainer does, would shift the mean.
        """
        judged = self._judge_own_share()
        sums = torch.tensor(
            [judged.loss, judged.tokens, judged.rows, judged.right], dtype=torch.float64
        ).to(self.args.device)
        loss, tokens, rows, right = self.accelerator.reduce(sums, "sum").tolist()
        metrics = {"eval_loss": loss / tokens, "eval_label_accuracy": right / rows}
        if not math.isfinite(metrics["eval_loss"]):
            raise TrainingError(
                f"step {self.state.global_step}: the validation loss is {metrics['eval_loss']}. "
                "The checkpoints before it are good; try a lower training.learning_rate in "
                "another output_dir."
            )
        self.log(dict(metrics))
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _judge_own_share(self) -> Judged:
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        own = sorted(self.validation_rows, key=lambda r: len(r.prompt) + len(r.answer))[rank::ranks]
        size = 4 * self.args.per_device_train_batch_size  # no gradients: four times the rows fit
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        parts: list[Judged] = []
        for at in range(0, len(own), size):
            batch = self.data_collator([(0, row) for row in own[at : at + size]])
            batch = {k: v.to(self.args.device) for k, v in batch.items() if k != "row_index"}
            with torch.inference_mode(), self.compute_loss_context_manager():
                parts.append(judge(*answer_logits(model, batch), self.label_position))
            self.on_validation(min(at + size, len(own)), len(own))
        model.train()
        return Judged(*(sum(getattr(p, f) for p in parts) for f in Judged.__slots__))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        write_adapter(
            self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir)
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        fill_adapter(self.accelerator.unwrap_model(self.model), folder)
        logged = read_json(folder / self._loss_file())
        self._loss_in_checkpoint = (logged["loss"], logged["since_step"])

    def take(self, checkpoint: Path) -> None:
        """Take a checkpoint's adapter and state, to go no further."""
        self._load_from_checkpoint(str(checkpoint))
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


def answer_logits(model: Any, inputs: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (rows, answer, vocab) and targets (rows, answer) of the answer's columns."""
    labels = inputs["labels"]
    longest = int((labels != IGNORED).sum(1).max())
    out = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"],
        logits_to_keep=longest + 1,
        use_cache=False,
    )
    logits = out.logits[:, :-1]
    # Not `-longest:`, which would be all columns of a batch that is padding alone.
    targets = labels[:, labels.shape[1] - longest :]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)), targets


def judge(logits: torch.Tensor, targets: torch.Tensor, label_position: int) -> Judged:
    """Return the sums of one batch from logits (rows, answer, vocab) and targets (rows, answer)."""
    loss = cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    learned = targets != IGNORED
    column = targets.shape[1] - learned.sum(1) + label_position  # answers end in the last column
    rows = torch.arange(len(targets), device=targets.device)
    right = logits[rows, column].argmax(-1) == targets[rows, column]
    return Judged(float(loss), float(learned.sum()), len(targets), float(right.sum()))
