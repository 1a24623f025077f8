"""A run's settings in the words of transformers' Trainer."""

from transformers import TrainingArguments

from hsd.model.base import Base
from hsd.training.processes import PATIENCE
from hsd.training.training_plan import TrainingPlan


def arguments(plan: TrainingPlan, base: Base) -> TrainingArguments:
    """Return the Trainer's arguments; what it should decide itself is none of them."""
    training, on_gpu = plan.config.training, base.placement.device != "cpu"
    args = TrainingArguments(
        output_dir=str(plan.config.output_dir),
        max_steps=plan.schedule.total_steps,
        # To the Trainer a whole step is one batch; it is cut into pieces within it.
        per_device_train_batch_size=training.own_rows,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        optim="adamw_torch",
        lr_scheduler_type=training.scheduler,
        warmup_steps=plan.schedule.warmup_steps,
        max_grad_norm=training.max_grad_norm,
        bf16=plan.mixed_precision == "bf16",
        seed=plan.config.seed,
        use_cpu=not on_gpu,
        # The Flow callback decides all of these, from the schedule.
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        logging_nan_inf_filter=False,  # a loss that is not a number must not look like a good one
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        ddp_find_unused_parameters=False,
        ddp_timeout=int(PATIENCE.total_seconds()),
    )
    # Where it is not asked for bf16, the library takes ACCELERATE_MIXED_PRECISION's word for it.
    args.mixed_precision = plan.mixed_precision
    # Without a launcher the Trainer would spread batches over all visible GPUs (DataParallel),
    # which changes the step; several GPUs are for `accelerate launch`.
    args._n_gpu = min(args.n_gpu, 1)
    return args
