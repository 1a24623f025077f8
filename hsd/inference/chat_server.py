"""One question to an OpenAI-compatible server: asked again while the server is busy or lost."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from hsd.config.server_config import ServerConfig
from hsd.counted import counted
from hsd.errors import EvaluationError, ModelError, Stopped, did_you_mean
from hsd.example import LABELS
from hsd.inference.chat_answer import (
    IS_IT_RIGHT,
    NO_COMPLETION,
    NOT_JSON,
    AskAgain,
    ChatReply,
    read_answer,
)
from hsd.inference.server_words import (
    beginning_of,
    connect_s,
    is_unreached,
    quotable,
    refused_part,
    said_by,
    unbounded,
    why_lost,
)
from hsd.inference.timely_request import post_within
from hsd.io.progress import Say, unsaid
from hsd.prompts.chat import Message
from hsd.visible import visible

OK = 200
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
TOLD_WAIT_S = 5.0
"""A longer silence is explained."""
MOST_MODELS = 5
MOST_TOO_LONG = 5
"""So many prompts are too long and none was answered: then it is no matter of one post."""
LONGEST_TOLD_S = 600.0
"""A server that asks for a longer wait has run out of a quota: a person should decide."""


@dataclass(slots=True)
class ChatServer:
    """A server and the model that answers; `sleep` and `clock` are the time.

    Once `ended` is set nothing is asked any more, and a wait is over; `sleep` None waits for it.
    `not_sent` are the parts of a request that the server refused; they are sent no more. `sent` and
    `repeated` count requests. `has_replied`: a post had a reply, in this start or an earlier one.
    """

    config: ServerConfig
    model: str
    token: str | None = field(default=None, repr=False)
    rationale: bool = False
    sleep: Callable[[float], object] | None = None
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    client: httpx2.Client = field(default_factory=httpx2.Client, repr=False)
    say: Say = unsaid
    not_sent: list[str] = field(default_factory=list)
    sent: int = 0
    repeated: int = 0
    has_replied: bool = False
    _was_heard: bool = False
    _too_long: int = 0
    _quiet_until: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, messages: Sequence[Message], **settings: Any) -> ChatReply:
        """Return the model's reply.

        Raises ModelError where the server refuses the question, EvaluationError where it stays
        busy or lost, or was never there, and Stopped once `ended` is set.
        """
        problem = ""
        for attempt in range(self.config.retries + 1):
            if self.ended.is_set():
                raise Stopped(f"{self.config.base_url}: stopped before a reply came.")
            started = self.clock()
            try:
                response = self._post(messages, settings)
            except httpx2.RequestError as error:
                problem, told = self._lost(error), None
            else:
                is_first, self._was_heard = not self._was_heard, True
                answer = read_answer(response, self.clock() - started)
                if isinstance(answer, ChatReply) and self._is_possible(answer):
                    return answer
                if is_first and answer == AskAgain(NOT_JSON):
                    raise self._no_api(response, messages)
                said = self._said(response, messages)
                if answer is None or isinstance(answer, ChatReply):
                    raise self._refused(response.status_code, said)
                is_said = response.status_code != OK
                problem = f"the server said {said}" if is_said else answer.reason
                told = self._told(response)
            if attempt < self.config.retries:
                own = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt)
                self._pause(own if told is None else told, problem, started)
        tried = counted(self.config.retries + 1, "request")
        raise EvaluationError(f"{self.config.base_url}: no reply in {tried}: {problem}.")

    def _is_possible(self, reply: ChatReply) -> bool:
        """Whether a prompt that is too long is one among others, so that the run can go on."""
        with self._counting:
            self._too_long += reply.is_too_long
            self.has_replied = self.has_replied or not reply.is_too_long
            return self.has_replied or self._too_long < MOST_TOO_LONG

    def models(self) -> list[str]:
        """Return the models that the server lists; none where it does not list any."""
        try:
            response = self.client.get(
                self._url("models"), headers=self._headers(), timeout=connect_s(self.config)
            )
            listed = response.json()["data"] if response.status_code == OK else []
            return [str(model["id"]) for model in listed]
        except (httpx2.RequestError, ValueError, RecursionError, KeyError, TypeError):
            return []

    def _post(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> httpx2.Response:
        form = reply_schema(rationale=self.rationale)
        content = {"model": self.model, "messages": messages, "response_format": form, **settings}
        content = {name: value for name, value in content.items() if name not in self.not_sent}
        with self._counting:
            self.sent += 1
        response = post_within(
            self.client,
            self._url("chat/completions"),
            self.config.timeout_s,
            self.clock,
            connect_s(self.config),
            json=content,
            headers=self._headers(),
        )
        if name := refused_part(response, content, quotable(messages)):
            self._leave_out(name)
            return self._post(messages, settings)
        return response

    def _leave_out(self, name: str) -> None:
        if name == "max_tokens" and self.config.max_cost is not None:
            raise unbounded(self.config)
        with self._counting:
            if name in self.not_sent:
                return
            self.not_sent.append(name)
        self.say(f"The server does not take {name}, so hsd sends it no more.")

    def _url(self, name: str) -> str:
        return f"{str(self.config.base_url).rstrip('/')}/{name}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _pause(self, seconds: float, problem: str, started: float) -> None:
        """Wait, and say so where a person would wonder: once, however many requests wait."""
        now = self.clock()
        with self._counting:
            self.repeated += 1
            is_told = now - started + seconds >= TOLD_WAIT_S and now >= self._quiet_until
            if is_told:
                self._quiet_until = now + seconds
        if is_told:
            self.say(f"{problem}; next try in {seconds:.0f} s")
        wait = self.sleep or self.ended.wait
        wait(seconds)

    def _lost(self, error: httpx2.RequestError) -> str:
        """Return why no answer came. Raises EvaluationError where no server was ever there."""
        why = why_lost(error, self.config)
        if is_unreached(error) and not self._was_heard:
            raise EvaluationError(
                f"{self.config.base_url}: {why}; check that the server runs, and that --base-url "
                "names its host and port."
            )
        return why

    def _said(self, response: httpx2.Response, messages: Sequence[Message]) -> str:
        """Return `429: too many requests`: the status, and the server's own words if any."""
        words = said_by(response, (self.token or "", *quotable(messages)))
        return f"{response.status_code}: {words}" if words else str(response.status_code)

    def _no_api(self, response: httpx2.Response, messages: Sequence[Message]) -> ModelError:
        """Return the error of a first answer that is a page: the address is another server's."""
        begins = beginning_of(response, (self.token or "", *quotable(messages)))
        quoted = f', which begins "{begins}"' if begins else ""
        return ModelError(f"{self.config.base_url}: {NOT_JSON}{quoted}; {IS_IT_RIGHT}")

    def _told(self, response: httpx2.Response) -> float | None:
        """Return how many seconds the server asks to wait, None where it does not say."""
        said = response.headers.get("Retry-After", "").strip()
        if not said:
            return None
        try:
            seconds = float(said)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(said) - self.now()).total_seconds()
            except (ValueError, TypeError):
                return None
        if seconds > LONGEST_TOLD_S:
            raise EvaluationError(
                f"{self.config.base_url}: the server asks to wait {seconds:,.0f} s; run the "
                "same command again then."
            )
        return max(0.0, seconds)

    def _refused(self, status: int, said: str) -> ModelError:
        place = self.config.base_url
        if status in (401, 403):
            what = "refuses the token" if self.token else "wants a token"
            return ModelError(
                f"{place}: the server {what} ({said}); name a file with a valid one, such as "
                "--token-file ~/.server_token."
            )
        if status == 404:
            return ModelError(f"{place}: {self._unknown(said)}")
        if status == OK:
            return ModelError(f"{place}: the answer is {NO_COMPLETION}")
        return ModelError(f"{place}: the server refuses the request ({said}).")

    def _unknown(self, said: str) -> str:
        """Return what a 404 means: another model, or another address."""
        listed = self.models()
        if not listed or self.model in listed:
            return (
                f"the server does not know the model '{self.model}', or the address is not one of "
                f"/v1 ({said})."
            )
        shown = visible(", ".join(listed[:MOST_MODELS]))
        more = f" and {len(listed) - MOST_MODELS:,} more" if len(listed) > MOST_MODELS else ""
        near = did_you_mean(self.model, beside=listed)
        return (
            f"the server does not know the model '{self.model}' ({said}).{near} --model-name can "
            f"be {shown}{more}."
        )


def reply_schema(*, rationale: bool) -> dict[str, Any]:
    """Return the form of a reply, as servers take it that constrain what a model writes."""
    fields: dict[str, Any] = {"classification": {"type": "string", "enum": list(LABELS)}}
    if rationale:
        fields["rationale"] = {"type": "string"}
    schema = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": schema},
    }
