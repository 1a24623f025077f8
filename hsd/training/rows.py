"""The rows a run learns from, as token ids, with the prompt they were asked with."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.train import DataConfig, PromptConfig, TrainConfig
from hsd.data.chat import is_chat, load_chat
from hsd.data.example import Example
from hsd.data.named import STEMS, resolve
from hsd.data.rows import read_rows
from hsd.data.sampling import label_balanced
from hsd.errors import DataError
from hsd.prompts.chat import Chat, chat_of_messages, make_chat
from hsd.prompts.contract import Contract, load_contract, make_contract
from hsd.prompts.render import Encoded, Renderer, fork
from hsd.prompts.template import load_template
from hsd.runs import sha256_json, sha256_text

log = logging.getLogger(__name__)

HELD_OUT = frozenset({*STEMS, "embedded:test"})
"""Names that evaluation uses; a model must not learn from them."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Encoded rows of a run and the contract they keep."""

    contract: Contract
    train: list[Encoded]
    validation: list[Encoded]
    label_position: int
    """Place in an answer of the token that tells hate from normal."""

    @property
    def asked(self) -> PromptConfig:
        """Template and strategy that the rows are really asked with."""
        return PromptConfig(template=self.contract.template, strategy=self.contract.strategy_name)

    def facts(self) -> dict[str, Any]:
        """Return counts and digests for the manifest."""
        return {
            "train": _facts(self.train),
            "validation": _facts(self.validation),
            "prompt_hash": self.contract.hash,
        }


def load_training_rows(config: TrainConfig, tokenizer: Any) -> TrainingRows:
    """Return the run's rows, rendered and encoded.

    Raises DataError for a bad row, a chat row of another prompt, or a row that is too long.
    """
    contract = _contract(config)
    renderer = Renderer(tokenizer, contract)
    contract = sealed(contract, renderer, tokenizer)
    data = config.data
    train = _encode(
        _chats(data.train_file, contract, data.max_train_rows, config.seed), renderer, data
    )
    validation: list[Encoded] = []
    if data.validation_file:
        chats = _chats(
            data.validation_file, contract, data.max_validation_rows, config.seed, "validation"
        )
        validation = _encode(chats, renderer, data)
    _require_apart(train, validation)
    return TrainingRows(contract, train, validation, _label_position(contract, renderer))


def sealed(contract: Contract, renderer: Renderer, tokenizer: Any) -> Contract:
    """Return the contract with what only the base's tokenizer knows: template and stop ids."""
    template = sha256_text(str(tokenizer.chat_template))
    return contract.model_copy(
        update={"chat_template_sha256": template, "stop_ids": renderer.stop_ids()}
    )


def _contract(config: TrainConfig) -> Contract:
    """The prompt.json beside prepared rows, else what the config names."""
    beside = Path(config.data.train_file).parent
    found = load_contract(beside) if Path(config.data.train_file).is_file() else None
    if found is not None:
        return found
    return make_contract(load_template(config.prompt.template), config.prompt.strategy)


def _chats(
    source: str, contract: Contract, limit: int | None, seed: int, split: str = "train"
) -> list[Chat]:
    if source in HELD_OUT:
        raise DataError(f"data: '{source}' is held out for evaluation; learn from other rows.")
    if _holds_chats(source):
        return _written_chats(Path(source), contract, limit, seed)
    examples = resolve(f"embedded:{split}" if source == "embedded" else source)
    if limit is not None:
        examples = label_balanced(examples, limit, seed)
    bare = sum(not e.rationale.strip() for e in examples)
    if contract.strategy.parameters.rationale and bare:
        log.warning(
            "%s: %d of %d rows have no rationale, though strategy '%s' asks for one; they teach "
            "an answer without it", source, bare, len(examples), contract.strategy_name
        )  # fmt: skip
    return [make_chat(contract.strategy, e.id, e.text, e.label, e.rationale) for e in examples]


def _holds_chats(source: str) -> bool:
    path = Path(source)
    if not path.is_file():
        return False
    rows, _ = read_rows(path)
    return bool(rows) and is_chat(rows[0].values)


def _written_chats(path: Path, contract: Contract, limit: int | None, seed: int) -> list[Chat]:
    rows = load_chat(path)
    if limit is not None:
        labels = [Example(id=row.id, text="", label=row.label) for row in rows]
        drawn = {example.id for example in label_balanced(labels, limit, seed)}
        rows = [row for row in rows if row.id in drawn]
    return [
        _checked(chat_of_messages(row.id, row.messages, contract.strategy), row.place, contract)
        for row in rows
    ]


def _checked(chat: Chat, place: str, contract: Contract) -> Chat:
    """Refuse a row asked otherwise: evaluation would then ask what training never saw."""
    if chat.post is None or chat.system != contract.strategy.system_prompt:
        raise DataError(
            f"{place}: this row was not written with strategy '{contract.strategy_name}' of "
            f"template '{contract.template}'; set prompt.template and prompt.strategy to the "
            "ones it was written with, or keep the prompt.json of `hsd prepare` beside it."
        )
    forms = [answer.removesuffix("}") for answer in contract.answers]
    if not (chat.answer or "").startswith(tuple(forms)):
        # The label is looked for at one place of all answers, in validation and in score mode.
        raise DataError(
            f"{place}: the answer is written in another form; expected it to start with "
            f"{' or '.join(forms)}, as `hsd prepare` writes it."
        )
    return chat


def _encode(chats: Sequence[Chat], renderer: Renderer, data: DataConfig) -> list[Encoded]:
    shorten = data.overflow == "truncate_post"
    rows = [renderer.encode(chat, data.max_length, shorten=shorten) for chat in chats]
    shortened = sum(row.shortened for row in rows)
    if shortened:
        log.warning(
            "%d of %d posts were cut to fit %d tokens", shortened, len(rows), data.max_length
        )
    return rows


def _require_apart(train: Sequence[Encoded], validation: Sequence[Encoded]) -> None:
    """A validation row that was learned says nothing; whole prompts are compared, not ids."""
    learned = {tuple(row.prompt): row.id for row in train}
    for row in validation:
        if (same := learned.get(tuple(row.prompt))) is not None:
            raise DataError(
                f"validation row {row.id} has the same post as training row {same}; "
                "`hsd prepare` makes splits without leaks."
            )


def _label_position(contract: Contract, renderer: Renderer) -> int:
    has_system = bool(contract.strategy.system_prompt)
    hate, normal = (
        renderer.encode(
            Chat(id="", system="x" if has_system else "", before="", answer=answer)
        ).answer
        for answer in contract.answers
    )
    return fork(hate, normal)


def _facts(rows: Sequence[Encoded]) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "tokens": sum(len(row.prompt) + len(row.answer) for row in rows),
        "learned_tokens": sum(len(row.answer) for row in rows),
        "posts_cut": sum(row.shortened for row in rows),
        "sha256": sha256_json([[row.id, row.prompt, row.answer] for row in rows]),
    }
