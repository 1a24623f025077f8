"""What `hsd predict` has to know of whoever answers: a model that hsd loads, or another engine."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hsd.config.evaluate_config import EvalConfig
from hsd.io.progress import Say, unsaid
from hsd.io.shard import Shard
from hsd.model.number_format import NumberFormat
from hsd.predict.input_posts import InputPost
from hsd.predict.post_answers import PostAnswer
from hsd.prompts.contract import Contract


@dataclass(frozen=True, slots=True)
class Watch:
    """What hears of a window's answers: `keep` gets them as they come, `check_stop` may raise.

    `is_kept` says whether there are answers that a failure leaves, for the same command to go on.
    `shard` is which part of the rows is answered.
    """

    keep: Callable[[Sequence[PostAnswer]], None]
    check_stop: Callable[[], None] = lambda: None
    say: Say = unsaid
    is_kept: Callable[[], bool] = lambda: False
    shard: Shard = Shard()


AnswerWindow = Callable[[Sequence[InputPost], Watch, Collection[int]], None]
"""Answers the posts of a window. Rows in the last argument are known: none is kept again."""


class PostModel(Protocol):
    """Who answers posts, as it is known before any weight is loaded or any server asked."""

    @property
    def config(self) -> EvalConfig:
        """The settings, with the mode that is read in."""
        ...

    @property
    def contract(self) -> Contract:
        """The prompt that it is asked with."""
        ...

    @property
    def numbers(self) -> NumberFormat:
        """In which numbers hsd computes it; {} where another program does."""
        ...

    @property
    def home(self) -> Path | None:
        """The folder that holds the model's own evaluations, if there is one."""
        ...

    @property
    def gpus(self) -> int:
        """How many GPUs each process uses."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return what decides the answers beside the posts: model, prompt, mode, lengths."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return what the manifest says of it before it answers."""
        ...

    @property
    def write_every_s(self) -> float | None:
        """How many seconds of answers a kill may cost; None for what windows do by themselves."""
        ...

    @property
    def answers_alone(self) -> bool:
        """Whether a post's answer has nothing to do with the other posts of its window."""
        ...

    def check(self, say: Say) -> None:
        """Refuse what only asking can tell, before anything is written.

        Raises ConfigError, ModelError or EvaluationError.
        """
        ...

    def answering(self, folder: Path | None) -> Mapping[str, Any] | None:
        """Return what all answers in a run's folder took, if it is counted; None: of this start."""
        ...

    def load(
        self, counts: Path | None, check_stop: Callable[[], None]
    ) -> tuple[AnswerWindow, Mapping[str, Any]]:
        """Return what answers windows, and what the manifest says of it once it is loaded.

        `counts` is the file in which this process may note what its answers took, None where
        nothing is kept. Raises as `check_stop`.
        """
        ...

    def close(self) -> None:
        """End what outlives an answer: connections to a server, another program's process."""
        ...
