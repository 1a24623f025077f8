"""A base without attention, such as Mamba: trained whole, asked for replies, never scored."""

from pathlib import Path
from typing import Any

import pytest
import small_runs
import tiny
from transformers import MambaConfig, MambaForCausalLM

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ModelError, TrainingError
from hsd.evaluation.evaluate import evaluate
from hsd.training.training_run import train

pytestmark = pytest.mark.model


def mamba(folder: Path) -> Path:
    """Write a tiny Mamba, which has no attention heads, and return its folder."""
    words = tiny.tokenizer()
    MambaForCausalLM(
        MambaConfig(
            vocab_size=len(words), hidden_size=64, num_hidden_layers=2, state_size=8,
            eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, bos_token_id=None,
        )
    ).save_pretrained(folder)  # fmt: skip
    words.save_pretrained(folder)
    return folder


def test_a_base_without_attention_heads_is_trained_and_its_activations_are_kept(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    config = small_runs.config(
        mamba(tmp_path / "mamba"),
        tmp_path,
        lora={"target_modules": ["x_proj"]},
        training={"max_steps": 1, "prefix_sharing": "off"},
    )
    assert train(config, say=said.append).steps == 1
    assert "Activations are kept: the plan does not know what they take." in said


def test_a_base_without_attention_heads_shares_no_prompts_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    config = small_runs.config(
        mamba(tmp_path / "mamba"),
        tmp_path,
        lora={"target_modules": ["x_proj"]},
        training={"max_steps": 1},
    )
    assert train(config, say=said.append).steps == 1
    assert "Rows are computed whole: the base has no attention heads." in said
    asked = config.model_copy(
        update={"training": config.training.model_copy(update={"prefix_sharing": "on"})}
    )
    with pytest.raises(TrainingError, match=r"prefix_sharing=on: the base has no attention heads"):
        train(asked.model_copy(update={"output_dir": tmp_path / "asked"}))


def test_such_a_base_writes_replies_and_scores_nothing(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "model": {"name": str(mamba(tmp_path / "mamba")), "device": "cpu"},
        "prompt_template": "baseline",
        "data_file": "embedded",
        "max_samples": 2,
        "max_new_tokens": 3,
    }

    def asked(mode: str) -> EvalConfig:
        return EvalConfig.model_validate(
            settings | {"mode": mode, "output_dir": str(tmp_path / mode)}
        )

    assert len(evaluate(asked("generate")).predictions) == 2
    with pytest.raises(ModelError, match=r"labels cannot be scored; use --mode generate"):
        evaluate(asked("score"))
