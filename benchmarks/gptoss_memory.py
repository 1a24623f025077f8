"""What a gpt-oss of true shapes takes in memory: written with random weights, loaded, one step, one
score.

    python -m benchmarks.gptoss_memory --work runs/gptoss

It needs 15 GB of disk for as long as it runs, and no network. Weights that keep their format stay
in their files and are mapped: the system takes their pages back where memory is short.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import forked, memory_mib
from benchmarks.packed_checkpoint import TINY, TRUE, checkpoint_gb, write_checkpoint
from benchmarks.posts import synthetic
from hsd.io.files import require_space
from hsd.io.manifest import manifest_of

FIGURES = {
    "seconds": "seconds",
    "cpu_seconds": "CPU seconds",
    "weights_gb": "weights, GB",
    "resident_gb": "resident, GB",
    "of_files_gb": "of it mapped files, GB",
    "peak_gb": "peak, GB",
    "peak_of_weights": "peak / weights",
    "rows": "rows",
    "tokens": "tokens",
    "shared_tokens": "shared by the rows",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.gptoss_memory", description=__doc__)
    add = made.add_argument
    add("--work", type=Path, default=Path("runs/gptoss_memory"), help="default: %(default)s")
    add("--rows", type=int, default=4, help="rows of the step and of the score (default: 4)")
    add("--layers", type=int, help="so many of the 24 layers, each as wide as it is")
    add("--tiny", action="store_true", help="seconds that show that everything runs")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    shape = TINY if asked.tiny else TRUE
    if asked.layers:
        shape = shape | {"num_hidden_layers": asked.layers}
    found = measure(asked.work, asked.rows, shape)
    print(json.dumps(found, indent=2))
    print(table(found))
    return 0


def measure(work: Path, rows: int, shape: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the figures of each stage, each in a process of its own; the checkpoint is removed."""
    base = work / "base"
    require_space(work, checkpoint_gb(shape) * 1.05, "a checkpoint of random weights")
    stages: dict[str, Callable[[], Mapping[str, float]]] = {
        "write": lambda: _written(shape, base),
        "load": lambda: _loaded(base),
        "step": lambda: _stepped(work, base, rows),
        "score": lambda: _scored(work, base),
    }
    try:
        return {name: _stage(name, stages[name], work) for name in stages}
    finally:
        shutil.rmtree(base, ignore_errors=True)


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures as Markdown."""
    lines = [f"| stage | {' | '.join(FIGURES.values())} |", f"| --- |{' --- |' * len(FIGURES)}"]
    for stage, figures in found.items():
        cells = (f"{figures[name]:.3g}" if name in figures else "" for name in FIGURES)
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _stage(name: str, work: Callable[[], Mapping[str, float]], folder: Path) -> dict[str, float]:
    def timed() -> dict[str, float]:
        began = time.monotonic(), time.process_time()
        figures = dict(work())
        seconds, cpu = time.monotonic() - began[0], time.process_time() - began[1]
        peak = _memory_gb("VmHWM")
        return {"seconds": seconds, "cpu_seconds": cpu, **figures, "peak_gb": peak}

    figures = forked(timed, folder / f"{name}.log")
    print(f"{name}: {json.dumps(figures)}", file=sys.stderr, flush=True)  # the next one may be long
    return figures


def _written(shape: Any, base: Path) -> dict[str, float]:
    write_checkpoint(shape, base)
    return {"weights_gb": sum(f.stat().st_size for f in base.glob("*.safetensors")) / 1e9}


def _loaded(base: Path) -> dict[str, float]:
    from hsd.model.base import load_base

    model = load_base(_model(base)).model
    for weight in model.parameters():  # each page of it: mapped ones count once they are read
        weight.flatten()[:: max(1, 2048 // weight.element_size())].sum()
    held = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return {
        "weights_gb": held / 1e9,
        "resident_gb": _memory_gb("VmRSS"),
        "of_files_gb": _memory_gb("RssFile"),
        "peak_of_weights": _memory_gb("VmHWM") * 1e9 / held,
    }


def _memory_gb(field: str) -> float:
    return memory_mib(field) * 1024**2 / 1e9


def _stepped(work: Path, base: Path, rows: int) -> dict[str, float]:
    from hsd.config.train_config import DataConfig, TrainConfig, TrainingConfig
    from hsd.training.training_run import train

    posts = [{"id": e.id, "text": e.text, "label": e.label} for e in synthetic(rows)]
    file = work / "posts.jsonl"
    file.write_text("".join(json.dumps(post) + "\n" for post in posts), encoding="utf-8")
    shutil.rmtree(work / "run", ignore_errors=True)
    done = train(
        TrainConfig(
            model=_model(base),
            data=DataConfig(train_file=str(file)),
            prompt=_prompt(),
            training=TrainingConfig(
                batch_size=rows,
                accumulation=1,
                max_steps=1,
                warmup_steps=0,
                learning_rate=1e-3,
                prefix_sharing="on",
            ),
            output_dir=work / "run",
        )
    )
    made = manifest_of(done.folder)
    shared = made["prefix_sharing"]["prefix_tokens"][0]
    return {
        "steps": done.steps,
        "rows": rows,
        "tokens": made["data"]["train"]["tokens"],
        "shared_tokens": shared,
    }


def _scored(work: Path, base: Path) -> dict[str, float]:
    from hsd.config.evaluate_config import EvalConfig
    from hsd.evaluation.evaluate import evaluate

    shutil.rmtree(work / "scores", ignore_errors=True)
    evaluate(
        EvalConfig(
            model=_model(base),
            adapter=work / "run",
            data_file=str(work / "posts.jsonl"),
            output_dir=work / "scores",
            mode="score",
        )
    )
    return {}


def _model(base: Path) -> Any:
    from hsd.config.model_config import ModelConfig

    return ModelConfig(name=str(base), device="cpu", dtype="bfloat16")


def _prompt() -> Any:
    from benchmarks.bases import SHIPPED

    return SHIPPED


if __name__ == "__main__":
    sys.exit(main())
