"""A server that answers posts, as `hsd predict` asks it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.errors import EvaluationError, ModelError, TakenOver
from hsd.evaluation.ranks import StopRequested
from hsd.evaluation.served_counts import Noted, spent_said
from hsd.evaluation.served_plan import ServedPlan, served_model_plan
from hsd.evaluation.served_replies import (
    KEPT,
    TOO_LONG,
    after_a_reply,
    answer_of,
    replies,
    require_scores,
    server_of,
)
from hsd.inference.chat_answer import ChatReply
from hsd.inference.chat_server import ChatServer
from hsd.inference.server_use import Counts, ServerUse, added, with_cost
from hsd.io.files import write_json
from hsd.io.json_reader import read_object
from hsd.io.progress import Say, unsaid
from hsd.model.number_format import NumberFormat
from hsd.predict.input_posts import InputPost
from hsd.predict.post_answers import PostAnswer
from hsd.predict.post_model import AnswerWindow, Watch
from hsd.predict.window_files import all_answers
from hsd.prompts.contract import Contract

COUNTS = "answering-*.json"
"""The files in which processes note what they asked a server."""


def served_model(config: EvalConfig) -> "ServedModel":
    """Return the server of a config. Raises ConfigError for what no server can do."""
    return ServedModel(served_model_plan(config))


@dataclass(slots=True)
class ServedModel:
    """What `hsd predict` knows of a server; `server` is made when it is first asked."""

    plan: ServedPlan
    server: ChatServer | None = None
    probed: ChatReply | None = None
    counted: Counts | None = None

    @property
    def config(self) -> EvalConfig:
        """The settings, with the mode that replies are read in."""
        return self.plan.config

    @property
    def contract(self) -> Contract:
        """The prompt that the server is asked with."""
        return self.plan.contract

    @property
    def numbers(self) -> NumberFormat:
        """Nothing: the server knows in which numbers it computes."""
        return {}

    @property
    def home(self) -> Path | None:
        """None: a server's name is no folder."""
        return None

    @property
    def gpus(self) -> int:
        """None of this machine."""
        return 0

    @property
    def write_every_s(self) -> float | None:
        """No second of answers is lost: each may have cost money."""
        return 0.0

    @property
    def answers_alone(self) -> bool:
        """A server is asked about one post at a time."""
        return True

    def identity(self) -> dict[str, Any]:
        """Return what decides the answers beside the posts."""
        return self.plan.identity_of_model()

    def facts(self) -> Mapping[str, Any]:
        """Return what the manifest says of the server and the prompt."""
        return self.plan.facts_of_model()

    def check(self, say: Say) -> None:
        """Ask for log-probabilities where labels are to be scored."""
        self.server = self.server or server_of(self.plan, say)
        self.probed = require_scores(self.plan, self.server)

    def answering(self, folder: Path | None) -> Mapping[str, Any] | None:
        """Return what all processes asked the server, and the cost; None without any."""
        if folder is None:
            return self.counted
        files = sorted(folder.glob(COUNTS))
        return with_cost(_total(files), self.config.server) if files else None

    def load(
        self, counts: Path | None, check_stop: Callable[[], None]
    ) -> tuple[AnswerWindow, Mapping[str, Any]]:
        """Return what asks the server; raises as `check_stop`."""
        check_stop()
        self.server = self.server or server_of(self.plan, unsaid)
        use = ServerUse(self.plan.config.server)
        use.count(self.probed)
        if counts is not None:
            found = {file: _total([file]) for file in counts.parent.glob(COUNTS)}
            use.before = found.pop(counts, {})
            use.others = _total(found)
            self.server.has_replied = any(map(_is_reply, all_answers(counts.parent)))

        def note(found: Counts) -> None:
            self.counted = found
            if counts is not None:
                write_json(counts, found)

        noted, is_pipe = Noted(use, self.server, note), counts is None
        return _Asking(self.plan, self.server, use, noted, is_pipe).answer, {}

    def close(self) -> None:
        """Close the connections to the server."""
        if self.server:
            self.server.client.close()
        self.server = None


@dataclass(slots=True)
class _Asking:
    """Asks about one window after the other."""

    plan: ServedPlan
    server: ChatServer
    use: ServerUse
    noted: Noted
    is_pipe: bool
    """Whether nothing is kept: then each row is answered as it comes."""

    def answer(self, window: Sequence[InputPost], watch: Watch, known: Collection[int]) -> None:
        """Ask about the posts that are not known, and keep each answer as it comes."""
        left = [p for p in window if p.text is not None and p.number not in known]
        texts, done = [str(post.text) for post in left], 0
        try:
            with self.noted.at_the_end():
                for at, reply in self._replies(texts, watch):
                    answer = self._answer(left[at].number, reply)
                    watch.keep([answer])
                    self.noted.row(answer.reason)
                    done += 1
        except (EvaluationError, ModelError) as error:
            if watch.is_kept():
                raise type(error)(f"{error} {KEPT}") from None
            raise
        if done < len(left):
            watch.check_stop()
            raise StopRequested(spent_said(self.use))

    def _replies(self, texts: Sequence[str], watch: Watch) -> Iterator[tuple[int, ChatReply]]:
        found = replies(self.plan, self.server, self.use, texts, lambda: _is_over(watch))
        return found if self.is_pipe else after_a_reply(found, self.server, len(texts))

    def _answer(self, row: int, reply: ChatReply) -> PostAnswer:
        answer = answer_of(self.plan, reply)
        return PostAnswer(
            row=row,
            outcome=answer.read.outcome,
            label=answer.read.label,
            score=answer.score,
            rationale=answer.read.rationale,
            reason=answer.reason,
        )


def _total(files: Iterable[Path]) -> Counts:
    """Return what some processes counted, together."""
    return reduce(added, map(read_object, files), {})


def _is_reply(answer: PostAnswer) -> bool:
    return answer.outcome is not None and answer.reason != TOO_LONG


def _is_over(watch: Watch) -> bool:
    try:
        watch.check_stop()
    except (StopRequested, TakenOver):
        return True
    return False
