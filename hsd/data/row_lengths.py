"""How long rows are: posts in characters, or whole prompts in the tokens that max_length limits."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from hsd.config.train_config import PromptConfig
from hsd.data.chat_rows import holds_chats
from hsd.data.posts import Post
from hsd.example import NONE
from hsd.prompts.chat import Chat, chat_of_messages, make_chat
from hsd.prompts.contract import Contract, load_contract, make_contract
from hsd.prompts.render import Renderer
from hsd.prompts.template import load_template

HISTOGRAM = (16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of the length histogram; what is longer is one more bar."""


class Measure(Protocol):
    """How rows are measured; `note` says to people what is counted."""

    @property
    def unit(self) -> str:
        """What a length is a number of."""

    @property
    def note(self) -> str:
        """What is counted, in a sentence."""

    def length(self, post: Post) -> int:
        """Return the length of one row."""


@dataclass(frozen=True, slots=True)
class PostLength:
    """The post alone, without the prompt around it."""

    count: Callable[[str], int] = len
    unit: str = "characters of the post"
    note: str = (
        "Lengths are of the post alone. max_length limits the tokens of the whole prompt: name the "
        "model (--model-name) to count those."
    )

    def length(self, post: Post) -> int:
        """Return the length of the post."""
        return self.count(post.example.text)


class PromptLength:
    """All that max_length limits: chat template, prompt and post; the answer where one is learned.

    A chat is rendered as it stands. A post is asked as the prompt.json beside its file says, or
    beside another of the files, or as `hsd train` and `hsd evaluate` ask by default; outside a
    test split its answer counts, as in training.
    """

    unit = "tokens of the whole prompt"

    def __init__(self, tokenizer: Any, files: Sequence[Path]) -> None:
        self._tokenizer = tokenizer
        beside = {file: load_contract(file.parent) for file in files}
        default = next(filter(None, beside.values()), None) or _default()
        self._contracts = {file: contract or default for file, contract in beside.items()}
        self._renderer = cache(self._make_renderer)
        self.note = _note([c for file, c in self._contracts.items() if not holds_chats(file)])

    def length(self, post: Post) -> int:
        """Return the tokens of a row's prompt and answer."""
        encoded = self._renderer(post.file).encode(self._chat(post))
        return len(encoded.prompt) + len(encoded.answer)

    def _chat(self, post: Post) -> Chat:
        e = post.example
        if post.messages:
            return chat_of_messages(e.id, post.messages)
        label = None if e.split == "test" else e.label
        strategy = self._contracts[post.file].strategy
        return make_chat(strategy, e.id, e.text, label, e.rationale)

    def _make_renderer(self, file: Path) -> Renderer:
        return Renderer(self._tokenizer, self._contracts[file])


def length_histogram(lengths: Iterable[int]) -> dict[str, int]:
    """Return how many rows are up to each of HISTOGRAM long."""
    names = [f"up to {end}" for end in HISTOGRAM] + [f"over {HISTOGRAM[-1]}"]
    places = (sum(n > end for end in HISTOGRAM) for n in lengths)
    counted = Counter(places)
    return {name: counted[place] for place, name in enumerate(names)}


def overflow(
    posts: Sequence[Post], lengths: Sequence[int], max_length: int | None
) -> dict[str, tuple[int, int]]:
    """Return rows over the limit and all rows by group; {} without a limit."""
    if max_length is None:
        return {}
    counted: dict[str, tuple[int, int]] = {}
    for post, n in zip(posts, lengths, strict=True):
        for group in post.example.groups or (NONE,):
            over, of = counted.get(group, (0, 0))
            counted[group] = (over + (n > max_length), of + 1)
    return dict(sorted(counted.items()))


def _note(asking: Sequence[Contract]) -> str:
    """Say what is counted; `asking` are the prompts of files of posts."""
    note = (
        "Lengths are of the whole prompt, chat template included, and of the answer where one is "
        "learned (chats, and posts outside a test split): what max_length limits."
    )
    names = dict.fromkeys(f"'{c.strategy_name}' of '{c.template}'" for c in asking)
    return f"{note} Posts are asked with strategy {', '.join(names)}." if names else note


def _default() -> Contract:
    asked = PromptConfig()
    return make_contract(load_template(asked.template), asked.strategy)
