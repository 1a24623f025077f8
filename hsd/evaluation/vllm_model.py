"""A model that vLLM answers for: checked against hsd's own engine, then asked for every row."""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

import torch

from hsd.errors import EvaluationError, ModelError
from hsd.evaluation.choose_engine import ChosenEngine, asking_of, expect, spelled_of
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.evaluation.shard_files import note_answering, note_vllm, suffix
from hsd.evaluation.vllm_check import (
    COARSE,
    EXACT,
    ROWS,
    Allowed,
    Answered,
    VllmCheck,
    check_answers,
    check_effect_alone,
)
from hsd.evaluation.vllm_limits import room_for_rank
from hsd.inference.replies import Engine, longest_first
from hsd.inference.score import log_probabilities
from hsd.inference.vllm_answers import VllmGenerate, VllmScore, answer_form
from hsd.inference.vllm_process import VllmProcess
from hsd.inference.vllm_python import vllm_python
from hsd.io.shard import Shard
from hsd.model.adapter import without_adapter
from hsd.model.adapter_folder import read_adapter
from hsd.model.placement import place
from hsd.model.tolerance import EXACT as EXACT_FORMATS
from hsd.model.tolerance import spread
from hsd.prompts.render import Encoded

log = logging.getLogger(__name__)

ENGINE = "vllm"
BATCH = 64
"""Rows that are asked at once unless batch_size says otherwise; vLLM batches them in its own way.
A stop loses the rows of one batch."""
LOG = "vllm.log"
CPU_BLOCK = 32
"""Tokens in a block of keys and values on a CPU, the fewest that vLLM takes there. Rows share whole
blocks alone: of a prompt of 200 tokens vLLM's own 128 would share little more than half."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where an engine works: the run's folder, and what raises when it is to stop."""

    folder: Path | None
    check_stop: Callable[[], None] = lambda: None
    shard: Shard = Shard()

    @property
    def log(self) -> Path:
        """The file of what vLLM writes: in the run's folder, where each later shard has its own."""
        folder = self.folder or Path(mkdtemp(prefix="hsd-vllm-"))
        return folder / (f"vllm{suffix(self.shard)}.log" if self.shard.index else LOG)


@dataclass(slots=True)
class VllmModel:
    """One model in vLLM for several evaluations; `with` it, vLLM ends with the block.

    `load` lets hsd's own engine answer a few rows and gives its memory back; vLLM starts when the
    first evaluation needs it, and is believed once it has answered the same rows alike.
    """

    plan: EvaluationPlan
    rows: list[Encoded] = field(default_factory=list)
    own: Answered | None = None
    is_adapted: bool = False
    process: VllmProcess | None = None
    check: VllmCheck | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(place(self.plan.config.model).device)

    def load(self, rows: Sequence[Encoded]) -> tuple[Self, dict[str, Any]]:
        """Answer a few of the rows with hsd's own engine; return the model and its facts."""
        subject, config = self.plan.subject, self.plan.config
        self.rows = spread(longest_first(rows), ROWS)
        self.is_adapted = subject.adapter is not None
        if config.vllm.check == "off":
            return self, facts_unread(self.plan)
        model, facts = subject.load()
        self.own = _own_answers(self.plan, model, self.rows)
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self, facts

    def choose(self, plan: EvaluationPlan, at: Surroundings) -> ChosenEngine:
        """Return how vLLM answers a plan's rows.

        Raises EvaluationError where vLLM answers otherwise than hsd's own engine; the finding is in
        the manifest.
        """
        if not self.rows:
            self.load(plan.encoded)
        process = self._started(at)
        if self.check is None:
            self.check = self._checked(process)
            log.info("%s", self.check.sentence())
        facts = self.facts()
        if at.folder:
            note_answering(at.folder, at.shard, facts)
        if self.check.problem:
            raise EvaluationError(
                f"engine vllm: {self.check.problem}. No row is kept; use --engine hsd, or another "
                "version of vLLM."
            )
        if at.folder:
            note_vllm(at.folder, at.shard, self.decides(process))
        batch = plan.config.batch_size if "batch_size" in plan.config.model_fields_set else BATCH
        engine = Engine(self._answering(plan, process), batch)
        return ChosenEngine(engine, True, "vLLM", expect(plan.encoded), served=facts)

    def facts(self) -> dict[str, Any]:
        """Return what answers, how, and what its check found, for the manifest."""
        kept = {k: v for k, v in engine_settings(self.plan).items() if k not in _PLACES}
        process = self.process.facts if self.process else {}
        check = {**self.check.facts(), "compared": self.own is not None} if self.check else None
        return {"engine": ENGINE, **process, "settings": kept, "check": check}

    def decides(self, process: VllmProcess) -> dict[str, Any]:
        """Return what decides vLLM's numbers, which no restart and no shard may change."""
        vllm = self.plan.config.vllm
        return {**process.facts, "tensor_parallel": vllm.tensor_parallel, "check": vllm.check}

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Within the block the base answers."""
        self.is_adapted = False
        try:
            yield
        finally:
            self.is_adapted = self.plan.subject.adapter is not None

    def close(self) -> None:
        """End vLLM."""
        if self.process:
            self.process.close()
        self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self, at: Surroundings) -> VllmProcess:
        if self.process is None or not self.process.is_open:
            self.process = self.check = None  # of one that died nothing is believed
            process = VllmProcess(vllm_python(), engine_settings(self.plan), at.log, at.check_stop)
            try:
                _require_alike(self.plan, process.facts)
            except ModelError:
                process.close()
                raise
            self.process = process
        return self.process

    def _checked(self, process: VllmProcess) -> VllmCheck:
        ids, allowed = [row.id for row in self.rows], allowed_for(self.plan)
        served = self._served_answers(process)
        if self.own is None:
            return check_effect_alone(ids, served, allowed)
        return check_answers(ids, self.own, served, allowed)

    def _served_answers(self, process: VllmProcess) -> Answered:
        spelled = spelled_of(self.plan)

        def odds(is_adapted: bool) -> list[float]:
            found = VllmScore(process, spelled, lambda: is_adapted).log_probabilities(self.rows)
            return [hate - normal for hate, normal in found]

        if self.plan.subject.adapter is None:
            return Answered(odds(False))
        return Answered(odds(True), odds(False))

    def _answering(self, plan: EvaluationPlan, process: VllmProcess) -> Any:
        def is_adapted() -> bool:
            return self.is_adapted

        if plan.config.mode == "score":
            return VllmScore(process, spelled_of(plan), is_adapted)
        parameters = plan.contract.strategy.parameters
        opening, schema = forced_opening(plan), answer_form(rationale=parameters.rationale)
        if parameters.analysis:  # asked for before the answer, which no form of the answer has
            opening, schema = [], {}
        return VllmGenerate(
            process,
            plan.subject.tokenizer,
            plan.renderer.stop_ids(),
            asking_of(plan),
            is_adapted,
            opening,
            schema or None,
        )


_PLACES = ("model", "adapter")
"""Settings that are places on this machine."""


def forced_opening(plan: EvaluationPlan) -> list[int]:
    """Return the ids that are forced before a reply, such as gpt-oss's final channel.

    Raises ModelError where they are no whole tokens, so that nothing can be forced.
    """
    has_system = bool(plan.contract.strategy.system_prompt)
    opening = plan.renderer.opening_ids(has_system=has_system)
    if spelled_of(plan).opening[: len(opening)] != opening:
        raise ModelError(
            "engine vllm: an answer of this base begins within a token of its chat template, so no "
            "form can be forced; leave --mode generate out, or use --engine hsd."
        )
    return opening


def allowed_for(plan: EvaluationPlan) -> Allowed:
    """Return how far vLLM may be from hsd's own engine in this number format."""
    plain = plan.numbers["quantization"] == "none"
    return EXACT if plain and getattr(torch, plan.numbers["dtype"]) in EXACT_FORMATS else COARSE


def engine_settings(plan: EvaluationPlan) -> dict[str, Any]:
    """Return what vLLM is started with."""
    source, on_cpu = plan.subject.source, plan.numbers["device"] == "cpu"
    folder = source.location if Path(source.location).is_dir() else source.weights_in
    settings: dict[str, Any] = {
        "model": str(folder or source.location),
        "dtype": plan.numbers["dtype"],
        "max_model_len": plan.room + plan.max_new_tokens,
        "tensor_parallel_size": plan.config.vllm.tensor_parallel,
        "seed": plan.config.seed,
        "skip_tokenizer_init": plan.config.mode == "score",
        "enforce_eager": on_cpu,  # to compile takes longer than to answer
    }
    if on_cpu:
        settings["block_size"] = CPU_BLOCK
    if plan.subject.adapter is None:
        return settings
    rank = room_for_rank(int(read_adapter(plan.subject.adapter).get("r", 8)))
    lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
    return {**settings, **lora, "adapter": str(plan.subject.adapter.absolute())}


def _own_answers(plan: EvaluationPlan, model: Any, rows: Sequence[Encoded]) -> Answered:
    def odds() -> list[float]:
        spelled, pad = spelled_of(plan), plan.subject.tokenizer.pad_token_id or 0
        found = [log_probabilities(model, [row.prompt], spelled, pad)[0].tolist() for row in rows]
        return [hate - normal for hate, normal in found]

    if plan.subject.adapter is None:
        return Answered(odds())
    adapted = odds()
    with without_adapter(model):
        return Answered(adapted, odds())


def facts_unread(plan: EvaluationPlan) -> dict[str, Any]:
    """Return what is known of a model that hsd has not loaded."""
    source, adapter = plan.subject.source, plan.subject.adapter
    facts: dict[str, Any] = {"name": source.name, "revision": source.revision, **plan.numbers}
    return {**facts, "adapter": str(adapter)} if adapter else facts


def _require_alike(plan: EvaluationPlan, facts: dict[str, Any]) -> None:
    for what in ("device", "dtype"):
        if facts[what] != plan.numbers[what]:
            raise ModelError(
                f"engine vllm: vLLM's {what} is {facts[what]}, and hsd's is {plan.numbers[what]}; "
                f"set model.{what}={facts[what]}, or install vLLM for {plan.numbers['device']}."
            )
