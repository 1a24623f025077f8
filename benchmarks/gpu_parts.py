"""The parts of `python -m benchmarks.gpu`, each run in a process of its own."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.environment import versions
from benchmarks.gpu_training import (
    Limit,
    Row,
    Variant,
    attempt,
    peak_tflops,
    planned_steps,
    train_rows,
    wait,
)
from benchmarks.packed_checkpoint import chat_tokenizer
from benchmarks.random_bases import Random, forget, made, random_bases
from benchmarks.training import IGNORED
from hsd.config.train_config import LoraConfig, TrainConfig
from hsd.inference.score import Candidates
from hsd.inference.shared_score import SharedScore
from hsd.model.adapter import new_adapter
from hsd.model.packing import compute_prefix, shared_length
from hsd.training.planned_rows import planned_rows

SPELLED = Candidates(opening=[11, 12, 13], tails=([21, 22], [23]))
"""Of invented tokens; an answer's opening and its two labels."""
TRL_STEPS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """Where and how large a part is measured."""

    device: str
    tiny: bool
    work: Path

    @property
    def limit(self) -> Limit:
        return Limit(1.0, 2, 2) if self.tiny else Limit(12.0, 12, 4)

    def base(self, name: str) -> Random:
        return random_bases(tiny=self.tiny)[name]


def _card(asked: Asked) -> Iterator[Row]:
    """Yield where it is measured, and what a large matrix product reaches there."""
    yield {"variant": "versions", **versions()}
    if asked.device != "cpu":
        card = torch.cuda.get_device_properties(0)
        yield {
            "variant": "card",
            "name": card.name,
            "memory_gb": card.total_memory / 1e9,
            "capability": f"{card.major}.{card.minor}",
            "cuda": torch.version.cuda,
            "peak_tflops": peak_tflops(asked.device),
        }
    yield attempt("matrix product", lambda: _product(asked))


def _product(asked: Asked) -> Row:
    size, times = (256, 2) if asked.tiny else (8192, 30)
    dtype = torch.float32 if asked.device == "cpu" else torch.bfloat16
    left = torch.randn(size, size, dtype=dtype, device=asked.device)
    left @ left
    wait(asked.device)
    began = time.monotonic()
    for _ in range(times):
        left @ left
    wait(asked.device)
    return {"tflops": times * 2 * size**3 / (time.monotonic() - began) / 1e12}


def _train(name: str, asked: Asked) -> Iterator[Row]:
    return train_rows(asked.base(name), asked.device, asked.limit, asked.work)


def _score(name: str, asked: Asked) -> Iterator[Row]:
    """Yield the rows a second of label scores behind a shared prefix, by rows at once."""
    model = made(asked.base(name), asked.device).model
    rows = planned_rows(TrainConfig(output_dir=asked.work), None, None).train
    prefix = rows[0].prompt[: shared_length([row.prompt for row in rows])]
    with torch.inference_mode():
        shared = SharedScore(model, compute_prefix(model, prefix), SPELLED)
    for at_once in (2, 4) if asked.tiny else (16, 64):
        forget()

        def measure(count: int = at_once) -> Row:
            shared(rows[:count])
            wait(asked.device)
            began, done = time.monotonic(), 0
            while done < len(rows) - count and time.monotonic() - began < asked.limit.seconds:
                shared(rows[done : done + count])
                done += count
            peak = torch.cuda.max_memory_allocated() / 1e9 if asked.device != "cpu" else None
            return {"rows_per_s": done / (time.monotonic() - began), "peak_gb": peak}

        yield attempt(f"{at_once} rows at once", measure)


def _trl(asked: Asked) -> Iterator[Row]:
    """Yield what TRL's trainer takes for the same rows on the same base, where it is installed."""
    if find_spec("trl") is None:
        yield {"variant": "TRL", "skipped": "trl is not installed"}
        return
    base = asked.base("llama")
    model = new_adapter(made(base, asked.device), LoraConfig(), seed=1)
    yield attempt("TRL, checkpointing on", lambda: _trl_row(model, base, asked))


def _trl_row(model: object, base: Random, asked: Asked) -> Row:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    _, steps = planned_steps(base, Variant("off", True), asked.device, asked.limit, asked.work)
    rows = [row for own, _ in steps[: TRL_STEPS + 1] for row in own]
    dataset = Dataset.from_list(
        [
            {
                "input_ids": row.prompt + row.answer,
                "labels": [IGNORED] * len(row.prompt) + row.answer,
            }
            for row in rows
        ]
    )
    on_gpu = asked.device != "cpu"
    args = SFTConfig(
        output_dir=str(asked.work / "trl"), max_steps=TRL_STEPS,
        per_device_train_batch_size=asked.limit.batch_size, gradient_accumulation_steps=4,
        gradient_checkpointing=True, bf16=on_gpu, use_cpu=not on_gpu, report_to="none",
        save_strategy="no", disable_tqdm=True, logging_strategy="steps", logging_steps=1,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=dataset, processing_class=chat_tokenizer()
    )
    found = trainer.train().metrics  # the first step, which sets up, is counted too
    return {
        "steps": TRL_STEPS,
        "seconds_per_step": found["train_runtime"] / TRL_STEPS,
        "rows_per_s": found["train_samples_per_second"],
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None,
    }


PARTS: dict[str, Callable[[Asked], Iterator[Row]]] = {
    "card": _card,
    "llama train": partial(_train, "llama"),
    "gpt-oss train": partial(_train, "gpt-oss"),
    "llama score": partial(_score, "llama"),
    "gpt-oss score": partial(_score, "gpt-oss"),
    "llama trl": _trl,
}
