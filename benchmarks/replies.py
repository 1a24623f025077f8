"""hsd's own answering functions, put together as an evaluation does it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bases import SHIPPED
from benchmarks.rows import Rows
from hsd.config.evaluate_config import EvalConfig
from hsd.evaluation.choose_engine import choose_engine
from hsd.evaluation.evaluation_plan import EvaluationPlan, plan_evaluation
from hsd.model.base import Base
from hsd.prompts.render import Encoded


@dataclass(frozen=True, slots=True)
class Replies:
    """Replies by row id. `deciding_s`: CPU seconds of the shared prompt and the self-test."""

    texts: dict[str, str]
    deciding_s: float
    shared: bool


def prepared_for(
    base: Base,
    rows: Rows,
    asked: Sequence[Encoded],
    mode: str,
    sharing: str,
    limits: tuple[int, int],
) -> EvaluationPlan:
    """Return an evaluation of these very rows; `limits` are the batch size and a reply's tokens."""
    batch_size, max_new_tokens = limits
    config = EvalConfig(
        model={"name": base.source.name, "device": "cpu", "dtype": "float32"},
        data_file="embedded",
        prompt_template=SHIPPED.template,
        strategy=SHIPPED.strategy,
        ignore_prompt_mismatch=True,
        mode=mode,
        prefix_sharing=sharing,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        output_dir=Path("unused"),
    )
    bare = [replace(row, answer=[]) for row in asked]
    return replace(
        plan_evaluation(config), contract=rows.contract, renderer=rows.renderer, encoded=bare
    )


def hsd_replies(base: Base, prepared: EvaluationPlan) -> Replies:
    """Return hsd's replies to all rows of an evaluation."""
    began = time.process_time()
    chosen = choose_engine(prepared, base.model)
    deciding_s = time.process_time() - began
    answered = map(chosen.engine.answer, chosen.engine.batches(prepared.encoded))
    texts = {reply.id: reply.text for replies in answered for reply in replies}
    return Replies(texts, deciding_s, chosen.shared)
