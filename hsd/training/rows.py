"""The rows a run learns from, as token ids, with the prompt they were asked with."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from hsd.config.train import DataConfig, PromptConfig, TrainConfig
from hsd.data.chat import ChatRow, holds_chats, stream_chats
from hsd.data.example import Example, Label
from hsd.data.groups import parse_groups
from hsd.data.named import STEMS, resolve
from hsd.data.sampling import label_balanced
from hsd.errors import DataError
from hsd.prompts.chat import make_chat, written_with
from hsd.prompts.contract import Contract, load_contract, make_contract
from hsd.prompts.render import Encoded, Renderer
from hsd.prompts.template import Strategy, load_template
from hsd.runs import sha256_file, sha256_text
from hsd.training.targets import Lesson, Targets, balanced

log = logging.getLogger(__name__)

HELD_OUT = frozenset({*STEMS, "embedded:test"})
"""Names that evaluation uses; a model must not learn from them."""


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows of a run and the contract they keep."""

    contract: Contract
    train: list[Encoded]
    """With targets where the objective looks at the label."""
    validation: list[Encoded]
    """With targets: their labels are always scored."""
    prompt_note: str | None = None
    """In what the base is asked otherwise than its makers ask it, if it is."""

    @property
    def asked(self) -> PromptConfig:
        """Template and main strategy that the rows are really asked with."""
        return PromptConfig(template=self.contract.template, strategy=self.contract.strategy_name)

    def facts(self) -> dict[str, Any]:
        """Return counts and digests for the manifest."""
        return {**self._counted, "prompt_hash": self.contract.hash}

    @cached_property
    def _counted(self) -> dict[str, Any]:
        # Once: the digest of 10,000 rows of a long prompt takes a good part of a second.
        return {"train": _facts(self.train), "validation": _facts(self.validation)}


def load_training_rows(config: TrainConfig, tokenizer: Any) -> TrainingRows:
    """Return the run's rows, rendered and encoded.

    Raises DataError for a bad row, a chat row of another prompt, or a row that is too long.
    """
    contract = _contract(config)
    renderer = Renderer(tokenizer, contract)
    contract = sealed(contract, renderer, tokenizer)
    data, training = config.data, config.training
    targets = Targets(renderer, tokenizer)
    learned = list(_lessons(data.train_file, contract, data.max_train_rows, config.seed))
    train = _encode(learned, renderer, data)
    if training.objective == "label":
        weights = balanced(learned, training.balance)
        train = [targets.add(*each) for each in zip(train, learned, weights, strict=True)]
    validation: list[Encoded] = []
    if data.validation_file:
        watched = list(
            _lessons(
                data.validation_file, contract, data.max_validation_rows, config.seed, "validation"
            )
        )
        encoded = _encode(watched, renderer, data)
        validation = [targets.add(*each) for each in zip(encoded, watched, strict=True)]
    _require_apart(train, validation)
    note = renderer.note(has_system=bool(contract.strategy.system_prompt))
    return TrainingRows(contract, train, validation, note)


def learned_posts(config: TrainConfig, contract: Contract) -> Iterator[tuple[str, Label]]:
    """Yield each post that a run of this config learns from, once, with its label."""
    data, seen = config.data, set()
    for lesson in _lessons(data.train_file, contract, data.max_train_rows, config.seed):
        post = lesson.chat.post
        if post and post not in seen:
            seen.add(post)
            yield post, lesson.label


def groups_of(source: str, contract: Contract) -> dict[str, tuple[str, ...]]:
    """Return whom each row of a source is about, by the row's id; chats say it in a key."""
    path = Path(source)
    if path.is_file() and holds_chats(path):
        rows = (row for row in stream_chats(path))
        return {row.id: parse_groups(row.target_group) for row in rows}
    examples = resolve("embedded:validation" if source == "embedded" else source)
    return {id: e.groups for e in examples for id, _ in contract.asks(e.id)}


def learned_from(data: DataConfig) -> dict[str, Any]:
    """Return for the manifest which file is learned from, so that a baseline can learn from it."""
    file = Path(data.train_file)
    if not file.is_file():
        return {"file": data.train_file, "sha256": None}
    return {"file": str(file.absolute()), "sha256": sha256_file(file)}


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


def _lessons(
    source: str, contract: Contract, limit: int | None, seed: int, split: str = "train"
) -> Iterator[Lesson]:
    if source in HELD_OUT:
        raise DataError(f"data: '{source}' is held out for evaluation; learn from other rows.")
    path = Path(source)
    if path.is_file() and holds_chats(path):
        return _written_chats(path, contract, limit, seed)
    return _posts(f"embedded:{split}" if source == "embedded" else source, contract, limit, seed)


def _posts(source: str, contract: Contract, limit: int | None, seed: int) -> Iterator[Lesson]:
    strategy_of: dict[str, Strategy] = {}
    examples = []
    for example in resolve(source):
        for id, strategy in contract.asks(example.id):
            strategy_of[id] = strategy
            examples.append(replace(example, id=id))
    if limit is not None:
        examples = label_balanced(examples, limit, seed)
    reasoned = [e for e in examples if strategy_of[e.id].parameters.rationale]
    bare = sum(not e.rationale.strip() for e in reasoned)
    if bare:
        log.warning(
            "%s: %d of %d rows have no rationale, though their strategy asks for one; they teach "
            "an answer without it", source, bare, len(reasoned)
        )  # fmt: skip
    for e in examples:
        strategy = strategy_of[e.id]
        chat = make_chat(strategy, e.id, e.text, e.label, e.rationale)
        yield Lesson(chat, e.label, strategy.parameters.rationale, e.groups)


def _written_chats(
    path: Path, contract: Contract, limit: int | None, seed: int
) -> Iterator[Lesson]:
    drawn = None if limit is None else _drawn(stream_chats(path), limit, seed)
    for row in stream_chats(path):
        if drawn is None or row.id in drawn:
            yield _as_asked(row, contract)


def _drawn(rows: Iterable[ChatRow], limit: int, seed: int) -> set[str]:
    labels = [Example(id=row.id, text="", label=row.label) for row in rows]
    return {example.id for example in label_balanced(labels, limit, seed)}


def _as_asked(row: ChatRow, contract: Contract) -> Lesson:
    """Refuse a row asked otherwise: evaluation would then ask what training never saw."""
    written = written_with(row.id, row.messages, contract.strategies)
    if written is None:
        known = "' or '".join(contract.strategies)
        raise DataError(
            f"{row.place}: this row was not written with strategy '{known}' of "
            f"template '{contract.template}'; set prompt.template and prompt.strategy to the "
            "ones it was written with, or keep the prompt.json of `hsd prepare` beside it."
        )
    forms = [answer.removesuffix("}") for answer in contract.answers]
    if not (row.messages[-1]["content"]).startswith(tuple(forms)):
        # The label is looked for at one place of all answers, in validation and in score mode.
        raise DataError(
            f"{row.place}: the answer is written in another form; expected it to start with "
            f"{' or '.join(forms)}, as `hsd prepare` writes it."
        )
    strategy, chat = written
    rationale = contract.strategies[strategy].parameters.rationale
    return Lesson(chat, row.label, rationale, parse_groups(row.target_group))


def _encode(lessons: Iterable[Lesson], renderer: Renderer, data: DataConfig) -> list[Encoded]:
    shorten = data.overflow == "truncate_post"
    rows = [renderer.encode(one.chat, data.max_length, shorten=shorten) for one in lessons]
    shortened = sum(row.shortened for row in rows)
    if shortened:
        log.warning(
            "%d of %d posts were cut to fit %d tokens", shortened, len(rows), data.max_length
        )
    return rows


def _require_apart(train: Sequence[Encoded], validation: Sequence[Encoded]) -> None:
    """A validation row that was learned says nothing, under whatever id or strategy."""
    learned = {_matter(row): row.id for row in train}
    for row in validation:
        if (same := learned.get(_matter(row))) is not None:
            raise DataError(
                f"validation row {row.id} has the same post as training row {same}; "
                "`hsd prepare` makes splits without leaks."
            )


def _matter(row: Encoded) -> str | tuple[int, ...]:
    return tuple(row.prompt) if row.post is None else row.post


def _facts(rows: Sequence[Encoded]) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "tokens": sum(len(row.prompt) + len(row.answer) for row in rows),
        "learned_tokens": sum(len(row.answer) for row in rows),
        "posts_cut": sum(row.shortened for row in rows),
        "sha256": _digest(rows),
    }


def _digest(rows: Sequence[Encoded]) -> str:
    """Return the digest of [[id, prompt, answer], ...] in JSON, which is never whole in memory."""
    digest = sha256(b"[")
    for at, row in enumerate(rows):
        id = json.dumps(row.id, ensure_ascii=False)
        digest.update(f"{', ' if at else ''}[{id}, {row.prompt}, {row.answer}]".encode())
    digest.update(b"]")
    return digest.hexdigest()
