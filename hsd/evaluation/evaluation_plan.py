"""What an evaluation knows before any weight is loaded: rows, prompts, and who answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.server_config import require_server_engine
from hsd.data.rows_identity import rows_identity
from hsd.errors import ConfigError, DataError, EvaluationError
from hsd.evaluation.prompt_choice import contract_for, renderer_for, require_analysis_possible
from hsd.evaluation.read_sets import read_sets
from hsd.evaluation.subject import Subject, subject
from hsd.evaluation.vllm_limits import (
    require_servable,
    require_unquantized,
    require_vllm_settings,
)
from hsd.example import Example
from hsd.groups.group_set import GroupSet, default_groups
from hsd.inference.vllm_python import vllm_python
from hsd.io.run_identity import MODEL_FILES
from hsd.model.context_length import positions_of
from hsd.model.number_format import NumberFormat, number_format
from hsd.model.own_tokenizer import blaming
from hsd.model.placement import launch
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract
from hsd.prompts.render import Encoded, Renderer
from hsd.prompts.token_limit import TokenLimit
from hsd.training.training_posts import require_known_sources

SCORED_TOKENS = 64
"""Room for an answer's opening and label; JSON takes about 10, a channel before it some more."""


_NOT_COMPARED = (
    "vllm.check is off: what vLLM answered was not compared with what hsd's own engine answers."
)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What an evaluation knows before any weight is loaded."""

    config: EvalConfig
    subject: Subject
    numbers: NumberFormat
    contract: Contract
    renderer: Renderer
    examples: list[Example]
    encoded: list[Encoded]
    groups: GroupSet
    """What error rates are counted for."""
    what: str
    """What is answered, for whoever watches."""
    read_as: tuple[str, ...] = ()
    """What a person should know of how the rows were read, a sentence each."""

    def of_base(self) -> "EvaluationPlan":
        """Return the evaluation of the adapter's base with the same rows, words and settings.

        It has the identity that the base alone would have. Raises EvaluationError without an
        adapter.
        """
        if self.subject.adapter is None:
            raise EvaluationError(
                f"model '{self.config.model.name}' is no adapter on a base, so there is no base to "
                "evaluate beside it; leave --with-base out."
            )
        changes = {
            "model": self.subject.config,
            "adapter": None,
            "output_dir": self.config.output_dir / "base",
            "prompt_template": self.contract.template,
            "strategy": self.contract.strategy_name,
        }
        base = replace(
            self,
            config=self.config.model_copy(update=changes),
            subject=self.subject.of_base(),
            what=f"{self.what} (base)",
        )
        if self.subject.own_tokenizer is None:
            return base
        # The base reads its own chat template, as it would alone.
        renderer = Renderer(base.subject.tokenizer, self.contract)
        encoded = _encoded(base, renderer, self.examples)
        return replace(base, renderer=renderer, encoded=encoded)

    def identity(self) -> dict[str, Any]:
        """Return what makes two evaluations the same one: model, prompt, rows, how it is read."""
        return {
            "kind": "evaluate",
            "model": self.subject.identity(),
            MODEL_FILES: self.subject.model_files(),
            "number_format": self.numbers,
            "prompt_hash": self.contract.hash,
            **rows_identity(self.examples, self.config.data_file),
            "mode": self.config.mode,
            "max_length": self.config.max_length,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.config.temperature,
            "seed": self.config.seed,
            **engine_identity(self.config),
        }

    @property
    def splits(self) -> dict[str, int]:
        """How many rows say of which split they are; {} where none does."""
        return dict(Counter(e.split for e in self.examples if e.split))

    @property
    def notes(self) -> list[str]:
        """What a person should know of the rows, a sentence each."""
        learned = self.splits.get("train", 0)
        rows = f"{learned} of {len(self.examples)} posts"
        return [
            *self.read_as,
            *[f"{rows} say that they are of the split that is trained on."] * bool(learned),
            *[_NOT_COMPARED] * is_not_compared(self.config),
        ]

    @property
    def gpus(self) -> int:
        """How many GPUs each process uses."""
        if self.numbers["device"] == "cpu":
            return 0
        return self.config.vllm.tensor_parallel  # 1 but where vLLM splits the model

    @property
    def max_new_tokens(self) -> int:
        """Longest reply in tokens."""
        return reply_length(self.config, self.contract)

    @property
    def room(self) -> int:
        """How many tokens a prompt may have."""
        return self.limit.tokens

    @property
    def limit(self) -> TokenLimit:
        """How many tokens a prompt may have, and whose limit that is."""
        return _limit(self.config, self.subject, self.max_new_tokens)


def plan_of_model(config: EvalConfig) -> EvaluationPlan:
    """Return what is known before any post is read: who answers, and in which words it is asked.

    Raises ConfigError, ModelError, PreflightError or EvaluationError.
    """
    _require_possible(config)
    chosen = subject(config)
    numbers = number_format(chosen.config, chosen.source)
    if config.engine == "vllm":
        require_servable(chosen, numbers)
    contract = contract_for(config, chosen.carries_prompt)
    with blaming(chosen.own_words_in):
        renderer = renderer_for(config, contract, chosen.tokenizer)
    require_analysis_possible(config, contract, renderer)
    return EvaluationPlan(config, chosen, numbers, contract, renderer, [], [], default_groups(), "")


def plan_evaluation(config: EvalConfig, data_dir: Path | None = None) -> EvaluationPlan:
    """Read and check everything that can be without weights; raises as `prepare_sets`."""
    (plan,) = prepare_sets([config], data_dir)
    return plan


def prepare_sets(
    configs: Sequence[EvalConfig], data_dir: Path | None = None
) -> list[EvaluationPlan]:
    """Read and check several sets for one model; `configs` differ in their `data_file` alone.

    Raises ConfigError, DataError, ModelError, PreflightError or EvaluationError, whichever set it
    is about.
    """
    config = configs[0]
    _require_possible(config)
    sets = read_sets(configs, data_dir)
    plan = plan_of_model(config)
    if plan.subject.adapter:
        require_known_sources(plan.subject.adapter)  # the report asks, once all rows are answered
    with blaming(plan.subject.own_words_in):
        encoded = [_encoded(plan, plan.renderer, one.examples) for one in sets]
    return [
        replace(
            plan,
            config=one,
            examples=sets[at].examples,
            encoded=encoded[at],
            groups=sets[at].groups,
            what=f"{one.data_file} rows",
            read_as=tuple(sets[at].sentences()),
        )
        for at, one in enumerate(configs)
    ]


def engine_identity(config: EvalConfig) -> dict[str, str]:
    """Return the engine, where it is not hsd's own: runs of before there were others have none.

    Rows that were compared with hsd's own engine and rows that were not are never of one run.
    """
    own = {} if config.engine == "hsd" else {"engine": config.engine}
    return own | ({"vllm_check": config.vllm.check} if is_not_compared(config) else {})


def is_not_compared(config: EvalConfig) -> bool:
    """Return whether vLLM answers, and no row is compared with hsd's own engine."""
    return config.engine == "vllm" and config.vllm.check == "off"


def _require_possible(config: EvalConfig) -> None:
    require_vllm_settings(config)
    require_server_engine(config.server, config.engine)
    if config.engine == "vllm":
        require_unquantized(config)
        vllm_python()
    launch()  # refuses a launcher that splits the base, before a file is read or converted
    if config.mode == "score" and config.temperature > 0:
        raise ConfigError(
            "temperature: nothing is sampled where labels are scored; add --mode generate, or "
            "leave the temperature out."
        )


def _encoded(
    plan: EvaluationPlan, renderer: Renderer, examples: Sequence[Example]
) -> list[Encoded]:
    limit, strategy = plan.limit, plan.contract.strategy
    return [renderer.encode(make_chat(strategy, e.id, e.text), limit) for e in examples]


def reply_length(config: EvalConfig, contract: Contract) -> int:
    """Return the longest reply: what is asked for, else the strategy's own limit if it has one.

    Where labels are scored no reply is written; then it is the room for an answer's tokens.
    """
    if config.mode == "score":
        return SCORED_TOKENS
    own = contract.strategy.parameters.max_new_tokens
    if "max_new_tokens" in config.model_fields_set or own is None:
        return config.max_new_tokens
    return own


def _limit(config: EvalConfig, chosen: Subject, reply: int) -> TokenLimit:
    """Return how many tokens a prompt may have: what is asked, if the model's context holds it."""
    context = positions_of(chosen.source.config)
    if context is not None and reply >= context:
        raise DataError(f"max_new_tokens {reply} does not fit the model's {context} positions.")
    return TokenLimit(config.max_length, "--max-length", context, reply)
