"""What a model's reply is, when it ends, and in which order rows are answered."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from hsd.example import Label
from hsd.inference.halving import batches_of
from hsd.prompts.answers import CHANNEL, object_end
from hsd.prompts.render import Encoded

SPELLED = "<| channel |>"
"""A channel in plain text."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote. `cut_off`: it ran into the token limit. `seconds`: its share of time.

    `score` is P(hate) and `label` the likelier one, where labels were scored.
    """

    id: str
    text: str
    cut_off: bool
    seconds: float
    score: float | None = None
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """How replies are made."""

    max_new_tokens: int
    batch_size: int
    temperature: float = 0.0
    seed: int = 42


@dataclass(frozen=True, slots=True)
class Engine:
    """How rows are answered: what answers a batch, and how many rows are one.

    A batch holds at most `room` tokens of its rows' own, behind the `prefix_tokens` they share;
    None where tokens do not matter.
    """

    answer: Callable[[Sequence[Encoded]], list[Reply]]
    batch_size: int
    prefix_tokens: int = 0
    room: int | None = None

    def batches(self, rows: Iterable[Encoded]) -> list[Sequence[Encoded]]:
        """Return which rows are answered together, the longest prompts first.

        Given all rows of an evaluation, this is the same whenever, in whatever order and by how
        many ranks they are answered. In 16 bit a row's answer depends on what stands beside it.
        """

        def own_tokens(row: Encoded) -> int:
            return len(row.prompt) - self.prefix_tokens if self.room else 0

        return batches_of(longest_first(rows), self.batch_size, own_tokens, self.room or 0)


class Closing:
    """Tells whether a reply's first JSON object is complete with its newest token.

    Only tokens with a closing brace can finish one, so text is decoded for those alone.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._closes: dict[int, bool] = {}

    def __call__(self, new: Sequence[int]) -> bool:
        """Return whether the last of the reply's ids closes its object."""
        last = new[-1]
        if last not in self._closes:
            self._closes[last] = "}" in self._tokenizer.decode([last])
        return self._closes[last] and object_end(reply_text(self._tokenizer, new)) is not None


def longest_first(rows: Iterable[Encoded]) -> list[Encoded]:
    """Return rows in the order they are answered in: memory runs out at once or never."""
    return sorted(rows, key=lambda row: (-len(row.prompt), row.id))


def read_tokens(
    tokenizer: Any, new: Sequence[int], stop_ids: Sequence[int], max_new_tokens: int
) -> tuple[str, bool]:
    """Return a reply's own text, and whether it was cut off.

    Its stop token does not belong to it, nor what stands behind its object.
    """
    end = next((at for at, token in enumerate(new) if token in stop_ids), None)
    text = reply_text(tokenizer, new[:end])
    closed = object_end(text)
    if closed is not None:
        return text[:closed], False
    return text, end is None and len(new) >= max_new_tokens


def reply_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return what a reply's ids say, in which a channel is the control token and nothing else.

    An analysis that quotes a post may spell a channel in plain text: with it, the post could answer
    for the model. A spelled one is written `<| channel |>`.
    """
    text: str = tokenizer.decode(ids, skip_special_tokens=False)
    if CHANNEL not in text:
        return text
    control = tokenizer.get_added_vocab().get(CHANNEL)
    pieces: list[list[int]] = [[]]
    for id in ids:
        if id == control:
            pieces.append([])
        else:
            pieces[-1].append(id)
    words = (tokenizer.decode(piece, skip_special_tokens=False) for piece in pieces)
    return CHANNEL.join(piece.replace(CHANNEL, SPELLED) for piece in words)


def row_seed(seed: int, id: str) -> int:
    """Return the seed that a row's reply is sampled with."""
    return int.from_bytes(sha256(f"{seed}/{id}".encode()).digest()[:7], "big")
