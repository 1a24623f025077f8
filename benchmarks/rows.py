"""Rows as token ids, the same for every contender, behind a prefix of the wanted length."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.posts import guidelines
from hsd.example import Example
from hsd.model.packing import shared_length
from hsd.prompts.chat import make_chat
from hsd.prompts.contract import Contract, make_contract
from hsd.prompts.render import Encoded, Renderer
from hsd.prompts.template import Strategy, Template

HEAD = (
    "You detect hate speech. Hate attacks or demeans people for who they are. "
    "Everything else is normal."
)
ASK = (
    'Classify the post as hate or normal. Answer with JSON: {{"classification": "hate"}} or '
    '{{"classification": "normal"}}.\nPost: {text}'
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows, the shortest first, with how they were asked; `prefix` is what all share."""

    contract: Contract
    renderer: Renderer
    encoded: list[Encoded]
    prefix: int


def make_rows(tokenizer: Any, prefix: int, examples: Sequence[Example]) -> Rows:
    """Return rows that share at least `prefix` tokens, and hardly more; 0 shares none at all.

    A chat template alone makes rows share some twenty tokens. For 0 they are cut off.
    """
    rules = 0
    rows = _rendered(tokenizer, rules, examples)
    while rows.prefix < prefix:
        rules += 1
        rows = _rendered(tokenizer, rules, examples)
    return rows if prefix else _without_prefix(rows)


def _rendered(tokenizer: Any, rules: int, examples: Sequence[Example]) -> Rows:
    system = f"{HEAD}\n{guidelines(rules)}".strip()
    strategy = Strategy(name="benchmark", system_prompt=system, user_template=ASK)
    contract = make_contract(Template(name="benchmark", strategies={"benchmark": strategy}), None)
    renderer = Renderer(tokenizer, contract)
    chats = [make_chat(strategy, e.id, e.text, e.label) for e in examples]
    encoded = sorted((renderer.encode(c) for c in chats), key=lambda r: (len(r.prompt), r.id))
    return Rows(contract, renderer, encoded, shared_length([row.prompt for row in encoded]))


def _without_prefix(rows: Rows) -> Rows:
    cut = [replace(row, prompt=row.prompt[rows.prefix :]) for row in rows.encoded]
    return replace(rows, encoded=cut, prefix=shared_length([row.prompt for row in cut]))


def texts(tokenizer: Any, rows: Sequence[Encoded]) -> list[str]:
    """Return the prompts as text, for the tools that take nothing else."""
    return [tokenizer.decode(row.prompt) for row in rows]


def respelled(tokenizer: Any, rows: Sequence[Encoded]) -> int:
    """Return how many prompts get other tokens when their text is tokenised again."""
    return sum(
        tokenizer(text)["input_ids"] != row.prompt
        for text, row in zip(texts(tokenizer, rows), rows, strict=True)
    )
