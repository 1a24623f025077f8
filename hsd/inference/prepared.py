"""What an evaluation knows before any weight is loaded: rows, prompts, and who answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.evaluate import EvalConfig
from hsd.data.example import Example
from hsd.data.named import resolve
from hsd.data.sampling import stratified
from hsd.errors import DataError
from hsd.inference.prompting import contract_for, renderer_for
from hsd.inference.subject import Subject, subject
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract
from hsd.prompts.render import Encoded, Renderer
from hsd.runs import sha256_json


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an evaluation knows before any weight is loaded."""

    config: EvalConfig
    subject: Subject
    contract: Contract
    renderer: Renderer
    examples: list[Example]
    encoded: list[Encoded]

    def identity(self) -> dict[str, Any]:
        """Return what makes two evaluations the same one: model, prompt, rows, how it is read."""
        return {
            "kind": "evaluate",
            "model": self.subject.identity(),
            "prompt_hash": self.contract.hash,
            "rows": len(self.examples),
            "data_sha256": sha256_json([[e.id, e.text, e.label] for e in self.examples]),
            "data_file": self.config.data_file,
            "mode": self.config.mode,
            "max_length": self.config.max_length,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.config.temperature,
            "seed": self.config.seed,
        }

    @property
    def max_new_tokens(self) -> int:
        """Longest reply in tokens."""
        return reply_length(self.config, self.contract)


def prepare(config: EvalConfig, data_dir: Path | None = None) -> Prepared:
    """Read and check everything that can be without weights.

    Raises ConfigError, DataError, ModelError or EvaluationError.
    """
    examples = resolve(config.data_file, data_dir)
    if config.max_samples is not None and config.max_samples < len(examples):
        examples = stratified(examples, config.max_samples, config.seed)
    chosen = subject(config)
    contract = contract_for(config, chosen.carries_prompt)
    renderer = renderer_for(config, contract, chosen.source.tokenizer)
    room = _room(config, chosen, reply_length(config, contract))
    encoded = [renderer.encode(make_chat(contract.strategy, e.id, e.text), room) for e in examples]
    return Prepared(config, chosen, contract, renderer, examples, encoded)


def reply_length(config: EvalConfig, contract: Contract) -> int:
    """Return the longest reply: what is asked for, else the strategy's own limit if it has one."""
    own = contract.strategy.parameters.max_new_tokens
    if "max_new_tokens" in config.model_fields_set or own is None:
        return config.max_new_tokens
    return own


def _room(config: EvalConfig, chosen: Subject, reply: int) -> int:
    """Return how many tokens a prompt may have: what is asked, if the model's context holds it."""
    context = getattr(chosen.source.config, "max_position_embeddings", None)
    if context is not None and reply >= context:
        raise DataError(f"max_new_tokens {reply} does not fit the model's {context} positions.")
    return min(config.max_length, context - reply) if context else config.max_length
