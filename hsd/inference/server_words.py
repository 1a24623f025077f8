"""What a server said, and why no answer came, in words that are safe to show."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx2

from hsd.config.server_config import ServerConfig
from hsd.errors import ConfigError
from hsd.prompts.chat import Message
from hsd.secrets import HIDDEN, hidden
from hsd.visible import visible

MOST_LETTERS = 200
"""Of a server's own words that are shown."""
MOST_OF_PAGE = 60
"""Letters of an answer that is not JSON: enough for `<!DOCTYPE html><html><head><title>`."""
_NAMED_BY = {
    "response_format": r"response_format|json_schema",
    "max_tokens": r"\bmax_tokens\b",
    "seed": r"\bseed\b",
    "logprobs": r"logprobs",
    "top_logprobs": r"\btop_logprobs\b",
}
"""What a request can do without, and the words that a refusal names it by."""
_TOO_LONG = re.compile(
    r"too (large|long|many|big)|context|exceed|reduce|(less|greater) than|at (most|least)|"
    r"maximum|max allowed",
    re.I,
)
"""So a server speaks of a wrong number, not of a name that it does not know."""


def said_by(response: httpx2.Response, private: Sequence[str] = ()) -> str:
    """Return a server's own words on one line, cut short; `private` texts and secrets are hidden.

    An answer that is not JSON, such as a page of a proxy, gives none.
    """
    try:
        text = _words(response.json())
    except (ValueError, RecursionError):
        return ""
    return _shown(text, private, MOST_LETTERS)


def beginning_of(response: httpx2.Response, private: Sequence[str] = ()) -> str:
    """Return how an answer that is not JSON begins, as `said_by` shows what a server said."""
    return _shown(response.text, private, MOST_OF_PAGE)


def _shown(text: str, private: Sequence[str], most: int) -> str:
    for part in filter(None, private):
        text = text.replace(part, HIDDEN)
    line = visible(hidden(" ".join(text.split()))).rstrip(".")
    return line if len(line) <= most else f"{line[:most]}..."


def _words(answer: Any) -> str:
    """Return the sentence in an error of OpenAI's form, of FastAPI's, or of neither."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        return "; ".join(filter(None, map(_words, answer)))
    if isinstance(answer, Mapping):
        keys = ("error", "message", "detail", "msg")
        return next((said for key in keys if (said := _words(answer.get(key)))), "")
    return ""


def refused_part(
    response: httpx2.Response, sent: Iterable[str], private: Sequence[str] = ()
) -> str | None:
    """Return the part of a request that a refusal names, and that a request can do without."""
    if response.status_code not in (400, 422):
        return None
    text = response.text
    for part in filter(None, private):
        text = text.replace(part, "")
    named = (name for name, words in _NAMED_BY.items() if name in sent and re.search(words, text))
    return next((n for n in named if n == "response_format" or not _TOO_LONG.search(text)), None)


def quotable(messages: Sequence[Message]) -> list[str]:
    """Return what a server may quote and nobody is shown: a chat's turns, also as JSON has them."""
    turns = [message["content"] for message in messages]
    return [*turns, *(json.dumps(turn)[1:-1] for turn in turns)]


def is_unreached(error: httpx2.RequestError) -> bool:
    """Whether a request found nothing that listens, so that no server has seen it."""
    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)


def why_lost(error: httpx2.RequestError, config: ServerConfig) -> str:
    """Return why no answer came, without the class of an error and without what was sent."""
    url = httpx2.URL(config.base_url or "")
    place = url.netloc.decode("ascii", "replace")
    if isinstance(error, httpx2.ConnectError):
        cause = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or "no connection"
        if "refused" in cause.lower():
            return f"nothing listens at {place}"
        return f"{place} cannot be reached ({visible(hidden(cause))[:MOST_LETTERS]})"
    if isinstance(error, httpx2.ConnectTimeout):
        return f"{place} cannot be reached (no connection within {connect_s(config):g} s)"
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {config.timeout_s:g} s"
    return "the connection broke before the answer was whole"


def unbounded(config: ServerConfig) -> ConfigError:
    """Return why no limit of cost can be kept: without max_tokens a reply is as long as it is."""
    return ConfigError(
        f"--max-cost: {config.base_url}: the server does not take max_tokens, so the next reply "
        "could cost any amount; leave --max-cost out, and set a limit at the service."
    )


def connect_s(config: ServerConfig) -> float:
    """Return how long a connection may take: a server that is there takes it in seconds."""
    return min(10.0, config.timeout_s)
