"""Whole commands, cold start included: hsd's and plain scripts that do the same job."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bases import SHIPPED
from benchmarks.measure import launched
from hsd.data.data_sets import resolve
from hsd.example import Example
from hsd.prompts.chat import chat_messages
from hsd.prompts.template import load_template

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Job:
    """The folder with the rows, and the models, that all commands work on."""

    base: str
    base_folder: str
    learned: Path
    work: Path
    rows: int

    def command(self, name: str, out: Path) -> list[str]:
        """Return a command that writes into `out`, and nowhere else."""
        python, work = sys.executable, self.work
        hsd_evaluate = [
            python, "-m", "jobs.evaluate", "--model_name", str(self.learned),
            "--data_file", str(work / "judged.jsonl"), "--prompt_template", SHIPPED.template,
            "--strategy", SHIPPED.strategy, "--max_new_tokens", "24", "--output_dir", str(out),
            "--ignore_prompt_mismatch",
        ]  # fmt: skip
        return {
            "hsd_train": [
                python, "-m", "jobs.train", "--config_file", str(work / "train.json"),
                "--output_dir", str(out),
            ],
            "trl_script": [
                python, str(PEERS / "train_trl.py"), self.base_folder,
                str(work / "learned_messages.jsonl"), str(out),
            ],
            "hsd_evaluate": [*hsd_evaluate, "--mode", "generate"],
            "hsd_evaluate_score": [*hsd_evaluate, "--mode", "score"],
            "pipeline_script": [
                python, str(PEERS / "evaluate_pipeline.py"), str(self.learned),
                str(work / "judged_messages.jsonl"), str(out / "labels.jsonl"),
            ],
        }[name]  # fmt: skip


def write(job: Job) -> None:
    """Write rows and config: embedded posts, as they are for hsd, as messages for the others."""
    posts = [e for split in ("train", "test", "validation") for e in resolve(f"embedded:{split}")]
    learned, judged = posts[: job.rows], posts[-job.rows :]
    job.work.mkdir(parents=True, exist_ok=True)
    _jsonl(job.work / "learned.jsonl", [_post(e) for e in learned])
    _jsonl(job.work / "judged.jsonl", [_post(e) for e in judged])
    _jsonl(job.work / "learned_messages.jsonl", [_messages(e) for e in learned])
    _jsonl(job.work / "judged_messages.jsonl", [_post(e) | _messages(e) for e in judged])
    (job.work / "train.json").write_text(json.dumps(_config(job)), encoding="utf-8")


def run(job: Job, name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the cost of one command from its start to its end."""
    out = job.work / "out" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    # A command claims its folder itself and refuses one that holds something.
    return launched(
        job.command(name, out),
        job.work / f"{name}.log",
        {**os.environ, **environment},
        Path.cwd(),
    )


def _config(job: Job) -> dict[str, Any]:
    """The demo's settings in float32: one epoch, and no validation, which the script has not."""
    return {
        "model": {"name": job.base, "device": "cpu", "dtype": "float32", "quantization": "none"},
        "lora": {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"},
        "data": {"train_file": str(job.work / "learned.jsonl"), "max_length": 256},
        "prompt": SHIPPED.model_dump(),
        "training": {
            "epochs": 1, "batch_size": 4, "accumulation": 2, "learning_rate": 2e-3,
            "weight_decay": 0.0, "warmup_steps": min(5, job.rows // 8 - 1),
        },
    }  # fmt: skip


def _post(example: Example) -> dict[str, str]:
    return {"id": example.id, "text": example.text, "label": example.label}


def _messages(example: Example) -> dict[str, Any]:
    strategy = load_template(SHIPPED.template).strategy(SHIPPED.strategy)
    *prompt, completion = chat_messages(strategy, example.text, example.label)
    return {"prompt": prompt, "completion": [completion]}


def _jsonl(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
