"""prompt.json: the prompt an adapter was trained with, which its evaluation must ask with."""

from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hsd.config.strict import Strict
from hsd.data.example import LABELS
from hsd.errors import EvaluationError
from hsd.prompts.chat import answer_json
from hsd.prompts.template import Strategy, Template
from hsd.runs import differences, read_json, sha256_json, write_json

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
        return {
            "system_prompt": self.strategy.system_prompt,
            "user_template": self.strategy.user_template,
            "parameters": self.strategy.parameters.model_dump(),
            "answers": list(self.answers),
            "chat_date": self.chat_date.isoformat(),
        }

    def chat_kwargs(self) -> dict[str, Any]:
        """Return what is passed to the tokenizer's chat template."""
        effort = self.strategy.parameters.reasoning_effort
        return {
            "date_string": self.chat_date.strftime("%d %b %Y"),
            "enable_thinking": False,
            **({"reasoning_effort": effort} if effort else {}),
        }


def make_contract(template: Template, strategy_name: str | None) -> Contract:
    """Return the contract of a template's strategy (its first one for None)."""
    name = strategy_name or next(iter(template.strategies))
    return Contract(template=template.name, strategy_name=name, strategy=template.strategy(name))


def save_contract(folder: Path, contract: Contract) -> None:
    """Write prompt.json into a folder."""
    content = contract.model_dump(mode="json") | {"hash": contract.hash}
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
            "with; restore the file, or ask with --prompt_template and --strategy."
        )
    return contract


def mismatch(trained: Contract, asked: Contract) -> list[str]:
    """Return what differs between two prompts, a line each; empty when they are the same."""
    return differences(trained.words(), asked.words())
