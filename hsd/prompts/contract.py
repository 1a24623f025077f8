"""prompt.json: the prompt an adapter was trained with, which its evaluation must ask with."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hsd.config.strict import Strict
from hsd.errors import ConfigError, EvaluationError
from hsd.example import LABELS
from hsd.io.files import write_json
from hsd.io.hashes import sha256_json
from hsd.io.json_reader import read_json
from hsd.io.run_identity import differences
from hsd.prompts.chat import answer_json
from hsd.prompts.template import Strategy, Template

FILE = "prompt.json"

PINNED_DATE = date(2025, 8, 5)
"""Chat templates that write today's date get this one, or tomorrow's prompt is another prompt."""


class Contract(Strict):
    """Everything that decides a prompt's tokens beside the post and the tokenizer."""

    version: int = 1
    """Of this file's form."""
    template: str
    """Name of the template file."""
    strategy_name: str
    """Key of the strategy in it."""
    strategy: Strategy
    """The words themselves, so that a later edit of the template file changes nothing."""
    others: dict[str, Strategy] = {}
    """Further strategies that every post was learned with, by their keys; the first is the main."""
    answers: tuple[str, ...] = tuple(answer_json(label) for label in LABELS)
    """The answers without a rationale, hate first."""
    chat_date: date = PINNED_DATE
    """The date that chat templates write."""
    chat_template_sha256: str | None = None
    """Of the base's chat template; None where no tokenizer was there (`hsd prepare`)."""
    stop_ids: tuple[int, ...] | None = None
    """Token ids that end an answer; None where no tokenizer was there."""

    @property
    def hash(self) -> str:
        """Digest of what the model reads and is to answer: words, parameters, date."""
        return sha256_json(self.words())

    def words(self) -> dict[str, Any]:
        """Return the part that the hash covers: not the names, which change no token."""
        others = [_words(strategy) for strategy in self.others.values()]
        return {
            **_words(self.strategy),
            "answers": list(self.answers),
            "chat_date": self.chat_date.isoformat(),
            **({"others": others} if others else {}),
        }

    @property
    def strategies(self) -> dict[str, Strategy]:
        """All strategies by their keys, the main one first."""
        return {self.strategy_name: self.strategy, **self.others}

    def alone(self, name: str | None = None) -> "Contract":
        """Return the contract with one of its strategies only; None takes the main one."""
        name = name or self.strategy_name
        only = {"strategy_name": name, "strategy": self.strategies[name], "others": {}}
        return self.model_copy(update=only)

    def asks(self, id: str) -> list[tuple[str, Strategy]]:
        """Return what a post becomes: the id and strategy of each row that asks about it."""
        if not self.others:
            return [(id, self.strategy)]
        return [(f"{id}:{name}", strategy) for name, strategy in self.strategies.items()]

    def chat_kwargs(self) -> dict[str, Any]:
        """Return what is passed to the tokenizer's chat template."""
        effort = self.strategy.parameters.reasoning_effort
        return {
            "date_string": self.chat_date.strftime("%d %b %Y"),
            "enable_thinking": False,
            **({"reasoning_effort": effort} if effort else {}),
        }


def make_contract(
    template: Template, strategy_name: str | None, others: Sequence[str] = ()
) -> Contract:
    """Return the contract of a template's strategy (its first one for None), and of `others`.

    Raises ConfigError for an unknown or repeated strategy, and when they differ in what one chat
    template is given for all rows.
    """
    name = strategy_name or next(iter(template.strategies))
    contract = Contract(
        template=template.name,
        strategy_name=name,
        strategy=template.strategy(name),
        others={other: template.strategy(other) for other in others},
    )
    if len(contract.strategies) <= len(others):
        raise ConfigError(f"strategies {', '.join((name, *others))}: name each of them once.")
    efforts = {s.parameters.reasoning_effort for s in contract.strategies.values()}
    if len(efforts) > 1:
        raise ConfigError(
            f"template {template.name}: strategies {', '.join(contract.strategies)} differ in "
            "parameters.reasoning_effort, which a model learns one of; prepare them apart."
        )
    return contract


def require_no_analysis(contract: Contract) -> Contract:
    """Return the contract; raises ConfigError where it wants an analysis, which no row has."""
    for name, strategy in contract.strategies.items():
        if strategy.parameters.analysis:
            raise ConfigError(
                f"template {contract.template}: strategy '{name}' lets the model write an analysis "
                "first (parameters.analysis), and a training row holds an answer alone. Train with "
                "a strategy without an analysis; `hsd evaluate --mode generate` asks with this one."
            )
    return contract


def save_contract(folder: Path, contract: Contract) -> None:
    """Write prompt.json into a folder."""
    content = contract.model_dump(mode="json") | {"hash": contract.hash}
    if not contract.others:
        del content["others"]  # as versions that know one strategy write and read it
    write_json(folder / FILE, content)


def load_contract(folder: Path) -> Contract | None:
    """Return the folder's contract, None when it has none.

    Raises EvaluationError when it is no contract, or was edited (its hash no longer fits).
    """
    path = folder / FILE
    if not path.exists():
        return None
    content = read_json(path)
    said = content.pop("hash", None) if isinstance(content, dict) else None
    try:
        contract = Contract.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise EvaluationError(f"{path}: not a prompt of hsd: {where}: {first['msg']}.") from None
    if said != contract.hash:
        raise EvaluationError(
            f"{path}: its words do not fit its hash, so it is not what the model was trained "
            "with; restore the file, or ask with --prompt-template and --strategy."
        )
    return contract


def mismatch(trained: Contract, asked: Contract) -> list[str]:
    """Return what differs between two prompts, a line each; empty when they are the same."""
    return differences(trained.words(), asked.words())


def trained_as(trained: Contract, asked: Contract) -> Contract | None:
    """Return the trained contract with just the strategy that asks in the words of `asked`.

    None when it was trained with no such strategy.
    """
    each = (trained.alone(name) for name in trained.strategies)
    return next((one for one in each if not mismatch(one, asked)), None)


def _words(strategy: Strategy) -> dict[str, Any]:
    return {
        "system_prompt": strategy.system_prompt,
        "user_template": strategy.user_template,
        "parameters": strategy.parameters.model_dump(),
    }
