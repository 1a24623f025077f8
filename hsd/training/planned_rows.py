"""The rows that a run is planned with: its own, or made-up ones where there are none to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from hsd.config.train_config import DataConfig, TrainConfig
from hsd.model.base import BaseFiles
from hsd.model.context_length import positions_of
from hsd.prompts.render import Encoded
from hsd.training.dataset import load_training_rows

ROWS = 10_000
_MADE = 1000
"""Rows that are made up: enough for the first steps, which all others are like."""
PREFIX_TOKENS = 400
"""Of the shipped prompts, in tokens of gpt-oss: about 330 to 420."""
ANSWER_TOKENS = 14
POST_TOKENS = range(20, 92)
"""Lengths of the posts of HateXplain and ToxiGen, and what a chat template puts behind them."""


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """Rows for training, of which there may be fewer here than in the run, and how many it has."""

    train: list[Encoded]
    count: int
    validation_count: int
    source: str
    """Where the lengths are from, in a sentence."""


def planned_rows(config: TrainConfig, source: BaseFiles | None, count: int | None) -> PlannedRows:
    """Return a run's rows. Without files or a tokenizer they are made up; `count` is how many.

    Raises DataError for a file that cannot be read.
    """
    data = config.data
    if source is None:
        return _made_up(data, count, "the base has no tokenizer here")
    positions = positions_of(source.config)
    if _is_there(data.train_file) and (
        data.validation_file is None or _is_there(data.validation_file)
    ):
        rows = load_training_rows(config, source.tokenizer, positions)
        said = f"Rows: the {len(rows.train):,} of {data.train_file}"
        many = f"; counted as {count:,}" if count else ""
        return PlannedRows(
            rows.train, count or len(rows.train), len(rows.validation), f"{said}{many}."
        )
    embedded = data.model_copy(update={"train_file": "embedded", "validation_file": None})
    rows = load_training_rows(
        config.model_copy(update={"data": embedded}), source.tokenizer, positions
    )
    number = count or ROWS
    return PlannedRows(
        rows.train,
        number,
        number // 10 if data.validation_file else 0,
        f"Assumed rows: {number:,} with the lengths of the embedded posts, as {data.train_file} "
        "is not here. Set data.train_file, or --rows.",
    )


def _made_up(data: DataConfig, count: int | None, why: str) -> PlannedRows:
    number = count or ROWS
    prefix = max(1, min(PREFIX_TOKENS, data.max_length - POST_TOKENS.stop - ANSWER_TOKENS))
    posts = islice(cycle(POST_TOKENS), min(number, _MADE))
    rows = [_row(str(n), prefix, max(1, tokens)) for n, tokens in enumerate(posts)]
    return PlannedRows(
        rows,
        number,
        number // 10 if data.validation_file else 0,
        f"Assumed rows: {number:,} with {prefix} shared tokens, posts of {POST_TOKENS.start} to "
        f"{POST_TOKENS.stop - 1} and answers of {ANSWER_TOKENS}, as {why}.",
    )


def _row(name: str, prefix: int, post: int) -> Encoded:
    return Encoded(name, [1] * prefix + [2 + int(name)] + [1] * (post - 1), [1] * ANSWER_TOKENS)


def longest(rows: Sequence[Encoded], count: int) -> list[Encoded]:
    """Return the longest rows: the step that needs the most memory."""
    return sorted(rows, key=lambda row: len(row.prompt) + len(row.answer))[-count:]


def _is_there(name: str) -> bool:
    looks_like_a_file = "/" in name or Path(name).suffix != ""
    return Path(name).expanduser().exists() if looks_like_a_file else True
