"""Files of the older flat keys: what they become, what is refused, what is ignored with a note."""

import json
from pathlib import Path
from typing import Any

import pytest

from hsd.config import TrainConfig
from hsd.config.legacy_keys import FIXED, IGNORED, READ, RENAMED
from hsd.config.loading import Resolved, load_train_config, resolve_train_config
from hsd.config.view import annotated_yaml
from hsd.errors import ConfigError

OLD = {
    "model_name_or_path": "openai/gpt-oss-20b",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_use_double_quant": False,
    "train_file": "a.jsonl",
    "validation_file": "b.jsonl",
    "max_seq_length": 512,
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "lora_target_modules": ["q_proj"],
    "num_train_epochs": 2,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "learning_rate": 1e-5,
    "weight_decay": 0.0,
    "lr_scheduler_type": "linear",
    "warmup_steps": 10,
    "eval_strategy": "steps",
    "eval_steps": 50,
    "save_strategy": "steps",
    "save_steps": 100,
    "save_total_limit": 3,
    "logging_steps": 7,
    "early_stopping_patience": 3,
    "early_stopping_threshold": 0.01,
    "max_grad_norm": 0.3,
    "gradient_checkpointing": True,
    "seed": 1,
    "output_dir": "out",
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(**keys: Any) -> Resolved[TrainConfig]:
    Path("old.json").write_text(json.dumps({"train_file": "a.jsonl"} | keys))
    return resolve_train_config("old.json")


def refusal(**keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**keys)
    return str(caught.value)


def test_an_old_file_becomes_a_config() -> None:
    resolved = read(**OLD)
    assert resolved.notes == ("old.json: early_stopping_patience 3 evaluations are 150 steps.",)
    assert resolved.config.model_dump(exclude_unset=True) == {
        "model": {
            "name": "openai/gpt-oss-20b",
            "quantization": "nf4",
            "double_quantization": False,
        },
        "lora": {"rank": 8, "alpha": 16, "dropout": 0.1, "target_modules": ("q_proj",)},
        "data": {"train_file": "a.jsonl", "validation_file": "b.jsonl", "max_length": 512},
        "training": {
            "epochs": 2.0,
            "batch_size": 1,
            "accumulation": 8,
            "learning_rate": 1e-5,
            "weight_decay": 0.0,
            "scheduler": "linear",
            "warmup_steps": 10,
            "max_grad_norm": 0.3,
            "gradient_checkpointing": True,
            "evaluate_every_steps": 50,
            "save_every_steps": 100,
            "keep_checkpoints": 3,
            "log_every_steps": 7,
        },
        "early_stopping": {"patience": 150, "unit": "steps", "min_delta": 0.01},
        "seed": 1,
        "output_dir": Path("out"),
    }


def test_set_and_extends_work_on_old_files_too() -> None:
    Path("old.json").write_text(json.dumps({"extends": "high_capacity", "lora_alpha": 1}))
    Path("new.json").write_text(json.dumps({"extends": "old.json", "seed": 3}))
    config = load_train_config("new.json", ["lora.dropout=0"])
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (64, 1, 0)


@pytest.mark.parametrize(
    ("keys", "evaluate_every", "patience", "unit"),
    [
        ({"eval_steps": 50}, 50, 100, "steps"),
        ({"eval_strategy": "steps", "eval_steps": 50}, 50, 100, "steps"),
        ({"evaluation_strategy": "steps", "logging_steps": 20}, 20, 40, "steps"),
        ({"eval_strategy": "steps"}, 500, 1000, "steps"),
        ({"eval_strategy": "epoch", "eval_steps": 50}, None, 2, "epochs"),
        ({"evaluation_strategy": "epoch"}, None, 2, "epochs"),
        ({}, None, 2, "epochs"),
    ],
)
def test_a_patience_in_evaluations_keeps_its_length(
    keys: dict[str, Any], evaluate_every: int | None, patience: int, unit: str
) -> None:
    config = read(early_stopping_patience=2, **keys).config
    assert config.early_stopping is not None
    assert (config.early_stopping.patience, config.early_stopping.unit) == (patience, unit)
    assert config.training.evaluate_every_steps == evaluate_every


def test_early_stopping_without_evaluations_is_refused() -> None:
    assert refusal(early_stopping_patience=2, eval_strategy="no") == (
        "old.json: early_stopping_patience: eval_strategy is 'no', so nothing can stop the run."
    )


def test_no_evaluation_is_no_validation_file() -> None:
    resolved = read(eval_strategy="no", validation_file="b.jsonl")
    assert resolved.config.data.validation_file is None
    assert resolved.notes == ("old.json: eval_strategy 'no': the validation file is not read.",)


@pytest.mark.parametrize(
    ("keys", "scheduler", "warmup_steps", "warmup_ratio"),
    [
        ({"warmup_steps": 100, "warmup_ratio": 0.1}, "cosine", 100, 0.1),
        ({"warmup_steps": 0, "warmup_ratio": 0.1}, "cosine", None, 0.1),
        ({"warmup_steps": 0}, "cosine", 0, 0.03),
        ({"lr_scheduler_type": "constant", "warmup_steps": 9}, "constant", 0, 0.03),
        ({"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 9}, "constant", 9, 0.03),
    ],
)
def test_warm_up_means_what_it_meant(
    keys: dict[str, Any], scheduler: str, warmup_steps: int | None, warmup_ratio: float
) -> None:
    training = read(**keys).config.training
    assert (training.scheduler, training.warmup_steps) == (scheduler, warmup_steps)
    assert training.warmup_ratio == warmup_ratio


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ({"load_in_4bit": False}, "model.quantization", "none"),
        ({"lora_target_modules": "q_proj, k_proj"}, "lora.target_modules", ("q_proj", "k_proj")),
        ({"lora_target_modules": "all-linear"}, "lora.target_modules", "all-linear"),
        ({"max_steps": -1}, "training.max_steps", None),
        ({"max_steps": 30}, "training.max_steps", 30),
        ({"save_strategy": "epoch"}, "training.save_every_steps", None),
        ({"name": "mine"}, "description", "mine"),
        ({"lora_r": None}, "lora.rank", 32),
    ],
)
def test_a_key_is_converted(keys: dict[str, Any], field: str, value: object) -> None:
    found: object = read(**keys).config
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_variable_takes_the_type_of_the_older_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_", "8")
    monkeypatch.setenv("EVERY", "10")
    resolved = read(lora_r="${RANK_}", eval_steps="${EVERY}", early_stopping_patience=2)
    assert resolved.config.lora.rank == 8
    assert resolved.config.training.evaluate_every_steps == 10
    assert "# old.json, lora_r, ${RANK_}" in annotated_yaml(resolved)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"bnb_4bit_quant_type": "fp4"},
            'old.json: bnb_4bit_quant_type: "fp4" is not possible: '
            "hsd's 4-bit type is NF4; expected 'nf4'.",
        ),
        ({"bnb_4bit_compute_dtype": "float16"}, "old.json: bnb_4bit_compute_dtype:"),
        ({"load_in_8bit": True}, "old.json: load_in_8bit: true is not possible:"),
        ({"metric_for_best_model": "f1"}, 'old.json: metric_for_best_model: "f1"'),
        ({"optim": "adafactor"}, "old.json: optim: 'adafactor' is not possible"),
        ({"fp16": True}, "old.json: fp16: true is not possible"),
        ({"lora_r": 0}, "old.json: lora_r: 0 is not accepted (expected a whole number greater"),
        ({"eval_steps": "50"}, 'old.json: eval_steps: "50" is not accepted'),
        ({"lora_rr": 8}, "old.json: unknown key 'lora_rr'. Did you mean 'lora_r'?"),
        ({"model_name_or_path": "${NOT_SET}"}, "old.json: model_name_or_path: environment var"),
        (
            {"eval_strategy": "no", "evaluation_strategy": "epoch"},
            "old.json: eval_strategy is 'no', but evaluation_strategy is 'epoch'.",
        ),
    ],
)
def test_what_hsd_cannot_honour_is_refused(keys: dict[str, Any], message: str) -> None:
    assert refusal(**keys).startswith(message)


def test_all_refusals_are_listed_and_a_token_is_not_shown() -> None:
    message = refusal(fp16=True, lora_r=0, hf_token="open-sesame")
    assert [key in message for key in ("fp16", "lora_r", "hf_token")] == [True] * 3
    assert "sesame" not in message


def test_old_and_new_keys_in_one_file_are_refused() -> None:
    message = refusal(lora_r=8, lora={"alpha": 8})
    assert message == (
        "old.json: older flat keys (train_file, lora_r) and sections (lora) in one file; "
        "keep to one form (lora_r is lora.rank now)."
    )


@pytest.mark.parametrize("key", [*IGNORED, "dataloader_num_workers", "ddp_timeout"])
def test_a_harmless_key_is_ignored_with_a_note(key: str) -> None:
    (note,) = read(**{key: True}).notes
    assert note.startswith(f"old.json: {key} is ignored: ")


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ({"optim": "paged_adamw_32bit"}, "optim 'paged_adamw_32bit' is read as AdamW"),
        ({"save_strategy": "no"}, "save_strategy 'no': checkpoints are written at every"),
        ({"early_stopping_threshold": 0.1}, "early_stopping_threshold is ignored"),
        ({"eval_strategy": "epoch", "eval_steps": 5}, "eval_steps is ignored"),
        ({"save_strategy": "epoch", "save_steps": 5}, "save_steps is ignored"),
        ({"name": "x", "description": "y"}, "name is ignored"),
        ({"lr_scheduler_type": "constant", "warmup_steps": 5}, "lr_scheduler_type 'constant'"),
    ],
)
def test_what_changes_is_said_in_a_note(keys: dict[str, Any], note: str) -> None:
    (found,) = read(**keys).notes
    assert found.startswith(f"old.json: {note}")


def test_older_keys_of_lora_options_are_the_options_of_today() -> None:
    lora = read(use_rslora=True, use_dora=True).config.lora
    assert (lora.use_rslora, lora.use_dora) == (True, True)


def test_an_older_key_has_one_meaning() -> None:
    tables = (RENAMED, READ, FIXED, IGNORED)
    assert sum(map(len, tables)) == len(set().union(*tables))
