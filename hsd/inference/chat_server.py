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
from hsd.errors import EvaluationError, ModelError, Stopped
from hsd.example import LABELS
from hsd.inference.chat_answer import NO_COMPLETION, ChatReply, read_answer
from hsd.inference.timely_request import post_within
from hsd.prompts.chat import Message

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_TOLD_S = 600.0
"""A server that asks for a longer wait has run out of a quota: a person should decide."""


@dataclass(slots=True)
class ChatServer:
    """A server and the model that answers; `sleep` and `clock` are the time.

    Once `ended` is set nothing is asked any more, and a wait is over; `sleep` None waits for it.
    `has_schema` says whether the server takes a JSON schema for replies: it is asked for one until
    it refuses it. `sent` and `repeated` count requests.
    """

    config: ServerConfig
    model: str
    token: str | None = field(default=None, repr=False)
    rationale: bool = False
    sleep: Callable[[float], object] | None = None
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    client: httpx2.Client = field(default_factory=httpx2.Client, repr=False)
    has_schema: bool = True
    sent: int = 0
    repeated: int = 0
    ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, messages: Sequence[Message], **settings: Any) -> ChatReply:
        """Return the model's reply.

        Raises ModelError where the server refuses the question, EvaluationError where it stays
        busy or lost, and Stopped once `ended` is set.
        """
        problem = ""
        for attempt in range(self.config.retries + 1):
            if self.ended.is_set():
                raise Stopped(f"{self.config.base_url}: stopped before a reply came.")
            started = self.clock()
            try:
                response = self._post(messages, settings)
            except httpx2.RequestError as error:
                problem, told = type(error).__name__, None
            else:
                answer = read_answer(response, self.clock() - started)
                if isinstance(answer, ChatReply):
                    return answer
                if answer is None:
                    raise self._refused(response)
                problem, told = answer.reason, self._told(response)
            if attempt < self.config.retries:
                self._count(repeated=1)
                wait = self.sleep or self.ended.wait
                wait(told if told is not None else _wait(attempt))
        raise EvaluationError(
            f"{self.config.base_url}: no answer in {self.config.retries + 1} requests ({problem}). "
            "The replies so far are kept; run the same command again to go on."
        )

    def _post(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{str(self.config.base_url).rstrip('/')}/chat/completions"
        content = {"model": self.model, "messages": list(messages), **settings}
        self._count(sent=1)
        asked_schema = self.has_schema
        if asked_schema:
            content["response_format"] = reply_schema(rationale=self.rationale)
        response = post_within(
            self.client, url, self.config.timeout_s, self.clock, json=content, headers=headers
        )
        if asked_schema and response.status_code in (400, 422) and _is_about_form(response):
            self.has_schema = False
            return self._post(messages, settings)
        return response

    def _count(self, sent: int = 0, repeated: int = 0) -> None:
        with self._counting:
            self.sent += sent
            self.repeated += repeated

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
                f"{self.config.base_url}: the server asks to wait {seconds:,.0f} s. The replies so "
                "far are kept; run the same command again then."
            )
        return max(0.0, seconds)

    def _refused(self, response: httpx2.Response) -> ModelError:
        status = response.status_code
        if status in (401, 403):
            return ModelError(
                f"{self.config.base_url}: the server refuses the token (status {status}); name a "
                "file with a valid one, such as --set server.token_file=~/.server_token."
            )
        if status == 404:
            return ModelError(
                f"{self.config.base_url}: the server does not know the model '{self.model}', or "
                "the address is not one of /v1 (status 404)."
            )
        if status == 200:
            return ModelError(f"{self.config.base_url}: the answer is {NO_COMPLETION}")
        return ModelError(f"{self.config.base_url}: the server refuses the request ({status}).")


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


def _wait(attempt: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt)


def _is_about_form(response: httpx2.Response) -> bool:
    return any(word in response.text for word in ("response_format", "json_schema"))
