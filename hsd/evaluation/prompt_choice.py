"""Which prompt an evaluation asks with: the adapter's own, unless told otherwise."""

from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import ConfigError, EvaluationError
from hsd.io.hashes import sha256_text
from hsd.prompts.answers import CHANNEL
from hsd.prompts.contract import Contract, load_contract, make_contract, mismatch, trained_as
from hsd.prompts.render import Renderer
from hsd.prompts.template import load_template

DEFAULT_TEMPLATE = "combined/combined_gptoss_v1"
DEFAULT_STRATEGY = "combined_focused"
PROBE = "The library opens at nine today."
"""The post that a connection is tried with."""


def contract_for(config: EvalConfig, trained_in: Path | None) -> Contract:
    """Return the prompt to ask with. `trained_in` is the folder of the adapter or merged model.

    A model that carries a prompt.json is asked with it: with its main strategy, or with another
    one that it was trained with. Raises EvaluationError when another prompt is asked for, saying
    how it differs, unless `ignore_prompt_mismatch` is set.
    """
    trained = load_contract(trained_in) if trained_in else None
    if config.prompt_template is None and config.strategy is None:
        if trained is not None:
            return trained.alone()
        return make_contract(load_template(DEFAULT_TEMPLATE), DEFAULT_STRATEGY)
    asked = _asked(config, trained)
    if trained is None or config.ignore_prompt_mismatch:
        return asked
    if (same := trained_as(trained, asked)) is not None:
        return same
    lines = mismatch(trained.alone(), asked)
    known = "', '".join(trained.strategies)
    raise EvaluationError(
        f"{trained_in}: trained with strategy '{known}' of template "
        f"'{trained.template}'; '{asked.strategy_name}' of '{asked.template}' differs in "
        f"{', '.join(line.partition(':')[0] for line in lines)}. Leave --prompt-template and "
        "--strategy out, or add --ignore-prompt-mismatch."
    )


def renderer_for(config: EvalConfig, contract: Contract, tokenizer: Any) -> Renderer:
    """Return what renders a contract for a base.

    Raises EvaluationError when the base has another chat template or other stop tokens than the
    model was trained with, unless `ignore_prompt_mismatch` is set: the same words would be
    another prompt.
    """
    renderer = Renderer(tokenizer, contract)
    trained = (contract.chat_template_sha256, contract.stop_ids)
    here = (sha256_text(str(tokenizer.chat_template)), renderer.stop_ids())
    if trained == (None, None) or trained == here or config.ignore_prompt_mismatch:
        return renderer
    what = "chat template" if trained[0] != here[0] else "stop tokens"
    raise EvaluationError(
        f"model '{config.model.name}': its base has another {what} than it was trained with. Give "
        "the revision it was trained on, or add --ignore-prompt-mismatch."
    )


def require_analysis_possible(config: EvalConfig, contract: Contract, renderer: Renderer) -> None:
    """Raise ConfigError where a strategy wants an analysis that could not be written or read."""
    asked = contract.strategy
    if not asked.parameters.analysis:
        return
    what = f"template {contract.template}: strategy '{contract.strategy_name}' lets the model"
    if config.mode == "score":
        raise ConfigError(
            f"{what} write an analysis first (parameters.analysis), but score mode forces the "
            "answer at once. Add --mode generate, or take a strategy without an analysis."
        )
    if CHANNEL not in renderer.opening_text(has_system=bool(asked.system_prompt)):
        raise ConfigError(
            f"{what} write an analysis first (parameters.analysis), but the chat template of "
            f"{config.model.name} has no channels to tell an analysis from an answer, as gpt-oss's "
            "has. Take a strategy without an analysis."
        )


def prompt_note(contract: Contract, renderer: Renderer) -> str | None:
    """Return in what a base is asked otherwise than its makers ask it; None where it is not."""
    return renderer.note(has_system=bool(contract.strategy.system_prompt))


def prompt_facts(contract: Contract, renderer: Renderer) -> dict[str, str]:
    """Return what the manifest says of the prompt."""
    note = prompt_note(contract, renderer)
    return {
        "template": contract.template,
        "strategy": contract.strategy_name,
        "hash": contract.hash,
        **({"note": note} if note else {}),
    }


def _asked(config: EvalConfig, trained: Contract | None) -> Contract:
    named = config.prompt_template or (trained.template if trained else DEFAULT_TEMPLATE)
    template = load_template(named)
    strategy = config.strategy
    if strategy is None and trained is not None and trained.template == template.name:
        strategy = trained.strategy_name
    if strategy is None and template.name == DEFAULT_TEMPLATE:
        strategy = DEFAULT_STRATEGY
    return make_contract(template, strategy)
