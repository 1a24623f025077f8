"""The rows a run learns from, as token ids, with the prompt they were asked with."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from hsd.config.train_config import DataConfig, PromptConfig, TrainConfig
from hsd.data.data_files import digest, is_one_table
from hsd.example import Label
from hsd.io.hashes import sha256_text
from hsd.prompts.contract import Contract
from hsd.prompts.render import Encoded, Renderer, Target
from hsd.prompts.token_limit import TokenLimit
from hsd.training.label_targets import Targets, balanced
from hsd.training.lesson import Lesson
from hsd.training.share_targets import across_told, shares_told
from hsd.training.training_files import RowSource, contract_asked, require_apart

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows of a run and the contract they keep."""

    contract: Contract
    train: list[Encoded]
    """With targets where the objective looks at the label."""
    validation: list[Encoded]
    """With targets: their labels are always scored."""
    notes: tuple[str, ...] = ()
    """What a person should know of the files, a sentence each."""
    prompt_note: str | None = None
    """In what the base is asked otherwise than its makers ask it, if it is."""
    shares_note: str | None = None
    """How many rows are learned as a share of votes, where that is asked for."""

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


def load_training_rows(
    config: TrainConfig, tokenizer: Any, positions: int | None = None
) -> TrainingRows:
    """Return the run's rows, rendered and encoded; no row is longer than the base's `positions`.

    Raises DataError for a bad row, a chat row of another prompt, or a row that is too long.
    """
    contract = contract_asked(config)
    renderer = Renderer(tokenizer, contract)
    contract = sealed(contract, renderer, tokenizer)
    training = config.training
    targets = Targets(renderer, tokenizer, training.labels)
    source = RowSource.of(config, "train")
    learned = list(source.lessons(contract))
    train = _encode(learned, renderer, config.data, positions)
    if training.objective == "label":
        weights = balanced(learned, training.balance)
        train = [targets.add(*each) for each in zip(train, learned, weights, strict=True)]
    notes, validation, watched = source.notes, [], []
    if config.data.validation_file:
        source = RowSource.of(config, "validation")
        watched = list(source.lessons(contract))
        encoded = _encode(watched, renderer, config.data, positions)
        validation = [targets.add(*each) for each in zip(encoded, watched, strict=True)]
        notes = [*notes, *source.notes]
    require_apart(*([(row.id, _matter(row)) for row in rows] for rows in (train, validation)))
    shares = None
    if training.labels == "share":
        shares = shares_told(learned, watched)
        notes = [*notes, *across_told(learned, config.data.train_file)]
    asked = renderer.note(has_system=bool(contract.strategy.system_prompt))
    notes = list(dict.fromkeys(notes))
    return TrainingRows(contract, train, validation, tuple(notes), asked, shares)


def learned_posts(config: TrainConfig, contract: Contract) -> Iterator[tuple[str, Label]]:
    """Yield each post that a run of this config learns from, once, with its label."""
    seen = set()
    for lesson in RowSource.of(config, "train", takes_all=True).lessons(contract):
        post = lesson.chat.post
        if post and post not in seen:
            seen.add(post)
            yield post, lesson.label


def learned_from(data: DataConfig) -> dict[str, Any]:
    """Return for the manifest which file is learned from, so that a baseline can learn from it."""
    file = Path(data.train_file)
    if not is_one_table(file):
        return {"file": data.train_file, "sha256": None}
    return {"file": str(file.absolute()), "sha256": digest(file)}


def sealed(contract: Contract, renderer: Renderer, tokenizer: Any) -> Contract:
    """Return the contract with what only the base's tokenizer knows: template and stop ids."""
    template = sha256_text(str(tokenizer.chat_template))
    return contract.model_copy(
        update={"chat_template_sha256": template, "stop_ids": renderer.stop_ids()}
    )


def _encode(
    lessons: Iterable[Lesson], renderer: Renderer, data: DataConfig, positions: int | None
) -> list[Encoded]:
    limit = TokenLimit(data.max_length, "data.max_length", positions)
    shorten = data.overflow == "truncate_post"
    rows = [renderer.encode(one.chat, limit, shorten=shorten) for one in lessons]
    shortened = sum(row.shortened for row in rows)
    if shortened:
        log.warning("%d of %d posts were cut to fit %d tokens", shortened, len(rows), limit.tokens)
    return rows


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
    """Return the digest of [[id, prompt, answer], ...] in JSON, which is never whole in memory.

    A row that is not learned as its answer says, or that counts more or less than others, has that
    too.
    """
    digest = sha256(b"[")
    for at, row in enumerate(rows):
        id = json.dumps(row.id, ensure_ascii=False)
        told = f"{id}, {row.prompt}, {row.answer}{_label_of(row.target)}"
        digest.update(f"{', ' if at else ''}[{told}]".encode())
    digest.update(b"]")
    return digest.hexdigest()


def _label_of(target: Target | None) -> str:
    if target is None:
        return ""
    as_labelled = target.hate == float(target.label == "hate")
    if as_labelled and target.weight == 1:
        return ""
    return f", {target.hate}, {target.weight}"
