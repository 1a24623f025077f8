"""A model that hsd loads itself, as `hsd predict` asks it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.evaluation.choose_engine import PrefixOnce
from hsd.evaluation.evaluation_plan import EvaluationPlan, engine_identity, plan_of_model
from hsd.evaluation.load_model import full_memory, load_for
from hsd.evaluation.prompt_choice import prompt_facts
from hsd.evaluation.vllm_model import VllmModel, facts_unread
from hsd.io.progress import Say
from hsd.io.run_identity import MODEL_FILES
from hsd.model.memory import memory_error_as
from hsd.model.number_format import NumberFormat
from hsd.predict.answer_window import answer_window, require_room
from hsd.predict.input_posts import InputPost
from hsd.predict.post_model import AnswerWindow, Watch
from hsd.prompts.contract import Contract


def local_model(config: EvalConfig) -> "LocalModel":
    """Return the model of a config. Raises DataError where no post fits, and as `plan_of_model`."""
    plan = plan_of_model(config)
    require_room(plan)
    return LocalModel(plan)


@dataclass(slots=True)
class LocalModel:
    """What `hsd predict` knows of a model before its weights are loaded."""

    plan: EvaluationPlan
    vllm: VllmModel | None = None

    @property
    def config(self) -> EvalConfig:
        """The settings."""
        return self.plan.config

    @property
    def contract(self) -> Contract:
        """The prompt that it is asked with."""
        return self.plan.contract

    @property
    def numbers(self) -> NumberFormat:
        """In which numbers it is computed here."""
        return self.plan.numbers

    @property
    def home(self) -> Path | None:
        """The folder of the adapter or merged model, which holds its evaluations."""
        return self.plan.subject.adapter or self.plan.subject.carries_prompt

    @property
    def gpus(self) -> int:
        """How many GPUs each process uses."""
        return self.plan.gpus

    def identity(self) -> dict[str, Any]:
        """Return what decides the answers beside the posts."""
        return {
            "model": self.plan.subject.identity(),
            MODEL_FILES: self.plan.subject.model_files(),
            "number_format": self.plan.numbers,
            "prompt_hash": self.plan.contract.hash,
            "mode": self.config.mode,
            "max_length": self.config.max_length,
            "max_new_tokens": self.plan.max_new_tokens,
            "temperature": self.config.temperature,
            "seed": self.config.seed,
            **engine_identity(self.config),
        }

    def facts(self) -> Mapping[str, Any]:
        """Return what the manifest says before weights are loaded."""
        prompt = prompt_facts(self.plan.contract, self.plan.renderer)
        notes = {"notes": self.plan.notes} if self.plan.notes else {}
        return {"prompt": prompt, **engine_identity(self.config), **notes}

    @property
    def answers_alone(self) -> bool:
        """A row is computed beside others."""
        return False

    @property
    def write_every_s(self) -> float | None:
        """How many seconds of answers a kill may cost: computing them again costs no money."""
        return None

    def check(self, say: Say) -> None:
        """Refuse nothing: the plan has refused it."""

    def answering(self, folder: Path | None) -> Mapping[str, Any] | None:  # noqa: ARG002
        """Count nothing: computing costs no tokens."""
        return None

    def load(
        self,
        counts: Path | None,
        check_stop: Callable[[], None],
    ) -> tuple[AnswerWindow, Mapping[str, Any]]:
        """Load the weights; raises as `check_stop` before and after.

        vLLM starts with the first post: what it answers is held against hsd's own engine.
        """
        plan, once = self.plan, PrefixOnce()
        folder = counts.parent if counts else None
        model, facts = self._loaded(check_stop)

        def answer(window: Sequence[InputPost], watch: Watch, known: Collection[int]) -> None:
            with memory_error_as(full_memory(model.device.type)):
                answer_window(plan, model, once, window, watch, known, folder)

        return answer, {"model": facts}

    def close(self) -> None:
        """End vLLM where it answers."""
        if self.vllm:
            self.vllm.close()

    def _loaded(self, check_stop: Callable[[], None]) -> tuple[Any, Mapping[str, Any]]:
        if self.config.engine == "vllm":
            self.vllm = VllmModel(self.plan)
            return self.vllm, facts_unread(self.plan)
        return load_for(self.plan, self.plan.subject.load, check_stop)
