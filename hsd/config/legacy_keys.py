"""The older flat keys: which field each one is now, and what becomes of those that are none."""

from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from hsd.config.train_config import Share

RENAMED = {
    "description": "description",
    "seed": "seed",
    "output_dir": "output_dir",
    "model_name_or_path": "model.name",
    "model_revision": "model.revision",
    "cache_dir": "model.cache_dir",
    "torch_dtype": "model.dtype",
    "attn_implementation": "model.attention",
    "bnb_4bit_use_double_quant": "model.double_quantization",
    "train_file": "data.train_file",
    "validation_file": "data.validation_file",
    "max_train_samples": "data.max_train_rows",
    "max_eval_samples": "data.max_validation_rows",
    "max_seq_length": "data.max_length",
    "prompt_template": "prompt.template",
    "strategy": "prompt.strategy",
    "lora_r": "lora.rank",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "use_rslora": "lora.use_rslora",
    "use_dora": "lora.use_dora",
    "num_train_epochs": "training.epochs",
    "per_device_train_batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.accumulation",
    "learning_rate": "training.learning_rate",
    "weight_decay": "training.weight_decay",
    "max_grad_norm": "training.max_grad_norm",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "logging_steps": "training.log_every_steps",
    "save_total_limit": "training.keep_checkpoints",
}
"""Same meaning, same type."""

READ: dict[str, Any] = {
    "name": str,
    "load_in_4bit": bool,
    "lora_target_modules": list[str] | str,
    "max_steps": int,
    "optim": str,
    "lr_scheduler_type": Literal["cosine", "linear", "constant", "constant_with_warmup"],
    "warmup_steps": NonNegativeInt,
    "warmup_ratio": Share,
    "eval_strategy": Literal["no", "steps", "epoch"],
    "evaluation_strategy": Literal["no", "steps", "epoch"],
    "eval_steps": PositiveInt,
    "save_strategy": Literal["no", "steps", "epoch", "best"],
    "save_steps": PositiveInt,
    "early_stopping_patience": PositiveInt,
    "early_stopping_threshold": NonNegativeFloat,
}
"""Their meaning depends on the value or on each other; `legacy` converts them."""

FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "load_in_8bit": ((False,), "hsd quantises to 4 bits or not at all"),
    "bnb_4bit_quant_type": (("nf4",), "hsd's 4-bit type is NF4"),
    "bnb_4bit_compute_dtype": (
        ("bfloat16", "torch.bfloat16"),
        "hsd computes with 4-bit weights in bfloat16",
    ),
    "fp16": ((False,), "hsd trains in bfloat16 on a GPU, and on a CPU in it or in float32"),
    "metric_for_best_model": (
        ("loss", "eval_loss"),
        "the best adapter is the one with the lowest validation loss",
    ),
    "greater_is_better": ((False,), "a lower validation loss is better"),
    "packing": ((False,), "packed rows would see each other; hsd shares the prompt instead"),
    "trust_remote_code": ((False,), "hsd runs no code that comes with a checkpoint"),
    "push_to_hub": ((False,), "hsd uploads nothing"),
    "method": (("lora", "qlora"), "hsd trains LoRA adapters"),
    "use_peft": ((True,), "hsd trains LoRA adapters"),
    "lora_bias": (("none",), "only LoRA matrices are trained"),
    "lora_task_type": (("CAUSAL_LM",), "hsd trains causal language models"),
    "lora_modules_to_save": (([],), "only LoRA matrices are trained"),
    "deepspeed": (("", False), "hsd spreads rows over devices, not weights"),
    "fsdp": (("", False, []), "hsd spreads rows over devices, not weights"),
    "adam_beta1": ((0.9,), "AdamW's betas are 0.9 and 0.999"),
    "adam_beta2": ((0.999,), "AdamW's betas are 0.9 and 0.999"),
    "adam_epsilon": ((1e-8,), "AdamW's epsilon is 1e-8"),
    "label_smoothing_factor": ((0,), "labels are not smoothed"),
    "hf_token": ((), "a token does not belong in a file; set HF_TOKEN or HF_TOKEN_PATH"),
    "use_auth_token": ((False,), "a token is taken from HF_TOKEN or HF_TOKEN_PATH"),
}
"""What hsd always does, so that any other value is refused: accepted values, and why."""

IGNORED = {
    "per_device_eval_batch_size": "validation takes training.batch_size rows at once",
    "bf16": "a GPU computes in bfloat16, a CPU in what is faster; model.dtype changes it",
    "tf32": "a GPU computes in bfloat16",
    "device_map": "the device follows from model.device and the launch",
    "load_best_model_at_end": "the best adapter is always the one that is exported",
    "report_to": "TensorBoard events and metrics.jsonl are always written, and nothing else",
    "logging_dir": "everything is written to output_dir",
    "logging_strategy": "metrics are written every training.log_every_steps",
    "logging_first_step": "metrics are written every training.log_every_steps",
    "run_name": "a run is known by its output_dir",
    "group_by_length": "rows are sorted by length inside each step",
    "overwrite_output_dir": "nothing is overwritten: the same folder resumes its run",
    "resume_from_checkpoint": "the same folder always resumes its run",
    "do_train": "hsd train trains",
    "do_eval": "validation runs when there is a validation file",
    "test_file": "give it to hsd evaluate --data-file",
    "gradient_checkpointing_kwargs": "the non-reentrant form is used",
    "remove_unused_columns": "rows have no columns to remove",
    "save_safetensors": "adapters are always safetensors",
    "disable_tqdm": "the progress bar follows the terminal",
    "preprocessing_num_workers": "rows are tokenised in one process",
    "data_seed": "seed orders the rows too",
}
"""Harmless; each is answered with a note that says what happens instead."""

IGNORED_PREFIXES = {
    "dataloader_": "rows are in memory; there are no loading processes",
    "ddp_": "hsd sets these itself",
    "hub_": "hsd uploads nothing",
}
