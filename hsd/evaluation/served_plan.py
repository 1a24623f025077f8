"""What an evaluation by a server knows before it asks: rows, prompt, and the server."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.data.rows_identity import data_facts, rows_identity
from hsd.errors import ConfigError
from hsd.evaluation.evaluation_plan import reply_length
from hsd.evaluation.prompt_choice import contract_for
from hsd.evaluation.read_sets import read_sets
from hsd.example import Example
from hsd.groups.group_set import GroupSet
from hsd.prompts.contract import Contract
from hsd.secrets import holds_secret

ENGINE = "openai"


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
            "model": {"served": config.model.name, "base_url": config.server.base_url},
            "prompt_hash": self.contract.hash,
            "mode": "generate",
            "max_new_tokens": reply_length(self.asked, self.contract),
            "temperature": config.temperature,
            "seed": config.seed,
            **rows_identity(self.examples, config.data_file),
        }

    def facts(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the manifest says beside the config."""
        return {
            "engine": ENGINE,
            "model": {"name": self.config.model.name, "server": self.config.server.base_url},
            "prompt": self.facts_of_prompt,
            "data": data_facts(identity, self.examples),
            "notes": self.notes,
            **self.groups.facts(),
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
    def asked(self) -> EvalConfig:
        """The config with the mode that a server can answer in."""
        return self.config.model_copy(update={"mode": "generate"})


def plan_served(config: EvalConfig, data_dir: Path | None = None) -> ServedPlan:
    """Read and check everything before the server is asked.

    Raises ConfigError for what a server cannot do, and DataError.
    """
    require_served(config)
    (rows,) = read_sets([config], data_dir)
    return ServedPlan(
        config, contract_for(config, None), rows.examples, rows.groups, list(rows.sentences())
    )


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
    if "mode" in config.model_fields_set and config.mode == "score":
        raise ConfigError(
            "mode: a server of chat completions gives no probability of a label that it did not "
            "write, so nothing can be scored; leave --mode score out."
        )
