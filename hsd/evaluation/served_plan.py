"""What an evaluation by a server knows before it asks: rows, prompt, and the server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.server_config import ServerConfig
from hsd.data.rows_identity import data_facts, rows_identity
from hsd.errors import ConfigError
from hsd.evaluation.evaluation_plan import reply_length
from hsd.evaluation.ignored_settings import BY_SERVER, require_no_ignored
from hsd.evaluation.prompt_choice import contract_for
from hsd.evaluation.read_sets import read_sets
from hsd.evaluation.vllm_limits import require_vllm_settings
from hsd.example import Example
from hsd.groups.group_set import GroupSet, default_groups
from hsd.io.run_identity import set_name
from hsd.prompts.contract import Contract
from hsd.secrets import holds_secret

ENGINE = "openai"
SCORED_AT = "at the label's first token, behind the opening that the model wrote itself"


@dataclass(frozen=True, slots=True)
class ServedPlan:
    """What an evaluation by a server knows before it asks."""

    config: EvalConfig
    contract: Contract
    examples: list[Example]
    groups: GroupSet
    notes: list[str]

    def identity(self) -> dict[str, Any]:
        """Return what makes two evaluations the same one; how fast it is asked decides nothing."""
        config = self.config
        return {
            "kind": "evaluate",
            **self.identity_of_model(),
            **rows_identity(self.examples, config.data_file),
        }

    def identity_of_model(self) -> dict[str, Any]:
        """Return what decides the answers beside the posts."""
        config, is_scored = self.config, self.config.mode == "score"
        return {
            "model": {"served": config.model.name, "base_url": config.server.base_url},
            "prompt_hash": self.contract.hash,
            "mode": config.mode,
            "max_new_tokens": self.reply_length,
            "temperature": config.temperature,
            "seed": config.seed,
            **({"top_logprobs": config.server.top_logprobs} if is_scored else {}),
        }

    def facts(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the manifest says beside the config."""
        return {
            **self.facts_of_model(),
            "data": data_facts(identity, self.examples),
            "notes": self.notes,
            **self.groups.facts(),
        }

    def facts_of_model(self) -> dict[str, Any]:
        """Return what the manifest says of the server, the prompt, and where scores come from."""
        config = self.config
        read = f"the {config.server.top_logprobs} likeliest tokens {SCORED_AT}"
        return {
            "engine": ENGINE,
            "model": {"name": config.model.name, "server": config.server.base_url},
            "prompt": self.facts_of_prompt,
            **({"scores_from": read} if config.mode == "score" else {}),
        }

    @property
    def facts_of_prompt(self) -> dict[str, str]:
        """What the manifest says of the prompt."""
        contract = self.contract
        return {
            "template": contract.template,
            "strategy": contract.strategy_name,
            "hash": contract.hash,
        }

    @property
    def reply_length(self) -> int:
        """Longest reply in tokens: a server writes one where labels are scored, too."""
        writing = self.config.model_copy(update={"mode": "generate"})
        return reply_length(writing, self.contract)


def plan_served(config: EvalConfig, data_dir: Path | None = None) -> ServedPlan:
    """Read and check everything before the server is asked.

    Raises ConfigError for what a server cannot do, and DataError.
    """
    (plan,) = plan_served_sets([config], data_dir)
    return plan


def plan_served_sets(
    configs: Sequence[EvalConfig], data_dir: Path | None = None
) -> list[ServedPlan]:
    """Return the plans of several sets, each in a folder of its own; raises as `plan_served`."""
    own = configs if len(configs) == 1 else [_in_own_folder(one) for one in configs]
    models = [served_model_plan(one) for one in own]
    return [
        replace(model, examples=rows.examples, groups=rows.groups, notes=list(rows.sentences()))
        for model, rows in zip(models, read_sets(own, data_dir), strict=True)
    ]


def _in_own_folder(config: EvalConfig) -> EvalConfig:
    folder = config.output_dir / set_name(config.data_file)
    return config.model_copy(update={"output_dir": folder})


def served_model_plan(config: EvalConfig) -> ServedPlan:
    """Return what is known before any post is read. Raises ConfigError for what is impossible.

    A server is read by its replies unless scores are asked for, since not every server has them.
    """
    require_served(config)
    is_scored = "mode" in config.model_fields_set and config.mode == "score"
    read = config.model_copy(update={"mode": "score" if is_scored else "generate"})
    return ServedPlan(read, contract_for(config, None), [], default_groups(), [])


def require_served(config: EvalConfig) -> None:
    """Refuse what a server cannot do. Raises ConfigError."""
    url = config.server.base_url or ""
    if not url:
        raise ConfigError(
            "--engine openai needs the address of the server, such as --base-url "
            "http://localhost:8000/v1."
        )
    if holds_secret(url):
        raise ConfigError(
            "--base-url: the address holds a secret; leave it out, and name a file with the "
            "token: --token-file FILE."
        )
    if "?" in url:
        raise ConfigError(
            "--base-url: the address may hold no query (what follows a ?), since addresses "
            "stand in manifests and reports; leave it out, and name a file with the token: "
            "--token-file FILE."
        )
    if config.adapter is not None:
        raise ConfigError("adapter: a server answers with its own models; leave --adapter out.")
    require_vllm_settings(config)
    require_no_ignored(config, BY_SERVER)
    if "mode" in config.model_fields_set and config.mode == "score" and config.temperature > 0:
        raise ConfigError(
            "temperature: nothing is sampled where labels are scored; add --mode generate, or "
            "leave the temperature out."
        )
    _require_prices(config.server)


def _require_prices(server: ServerConfig) -> None:
    prices = {"prompt_price": server.prompt_price, "reply_price": server.reply_price}
    missing = [name for name, price in prices.items() if price is None]
    given = [name for name in (*prices, "cached_price") if getattr(server, name) is not None]
    if given and missing:
        raise ConfigError(
            f"server.{given[0]} needs server.{missing[0]} too: the price of a million tokens."
        )
    if server.max_cost is not None and missing:
        raise ConfigError(
            "--max-cost needs the prices of a million tokens: --set server.prompt_price=P --set "
            "server.reply_price=P."
        )
