"""What a chat server's answer says: a reply, a refusal by a filter, or a reason to ask again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from hsd.inference.label_logprobs import WrittenToken, written_tokens

_BUSY = frozenset({408, 425, 429})
"""What a server answers below 500 that may answer otherwise later."""
_FILTERED = ("content_filter", "content_policy_violation")
_TOO_LONG = ("context_length_exceeded", "exceed_context_size_error")
_CONTEXT = re.compile(r"maximum context length|context (size|window)|max_model_len", re.I)
"""How OpenAI, vLLM and llama.cpp say that a prompt is too long."""
_PROMPT = re.compile(r"input tokens|in the messages|prompt", re.I)
"""Without these words a refusal of max_tokens is of the longest reply alone."""
_TEXT_PARTS = ("text", "output_text")
IS_IT_RIGHT = (
    "is this the address of an OpenAI-compatible server, such as http://localhost:8000/v1?"
)
NO_COMPLETION = f"no chat completion; {IS_IT_RIGHT}"
NOT_JSON = "an answer that is not JSON"


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model wrote. The counts of tokens are the server's own, of prompt and reply.

    `is_refusal` says that the server calls the reply a refusal, or that a filter kept it back;
    `is_too_long` that the model has no room for the prompt. `tokens` have log-probabilities.
    """

    text: str
    cut_off: bool
    seconds: float
    prompt_tokens: int = 0
    reply_tokens: int = 0
    is_refusal: bool = False
    cached_tokens: int = 0
    is_too_long: bool = False
    tokens: tuple[WrittenToken, ...] = ()

    @property
    def is_counted(self) -> bool:
        """Whether the server counted tokens, as it does wherever a model read any."""
        return self.prompt_tokens > 0 or self.is_refusal or self.is_too_long


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Why an answer is none, although the next one to the same question may be one."""

    reason: str


def read_answer(response: httpx2.Response, seconds: float) -> ChatReply | AskAgain | None:
    """Return what an answer says; None where asking again would change nothing."""
    status, content = response.status_code, _content(response)
    if status < 500 and _is_filtered(content):
        return ChatReply("", cut_off=False, seconds=seconds, is_refusal=True)
    if status in (400, 413, 422) and _is_too_long(content):
        return ChatReply("", cut_off=False, seconds=seconds, is_too_long=True)
    if status in _BUSY or status >= 500:
        return AskAgain(f"status {status}")
    if status != 200:
        return None
    if content is None:
        return AskAgain(NOT_JSON)
    try:
        return _completed(content, seconds)
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _content(response: httpx2.Response) -> Any:
    """Return the JSON of an answer; None where it is a page of a proxy, or cut."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _is_filtered(content: Any) -> bool:
    error = content.get("error") if isinstance(content, Mapping) else None
    if not isinstance(error, Mapping):
        return False
    return any(error.get(key) in _FILTERED for key in ("code", "type"))


def _is_too_long(content: Any) -> bool:
    """Whether a refusal is of one prompt, which is longer than the model's context."""
    error = content.get("error") if isinstance(content, Mapping) else None
    if not isinstance(error, Mapping):
        return False
    kinds, said = (error.get("code"), error.get("type")), str(error.get("message"))
    if any(kind in _TOO_LONG for kind in kinds):
        return True
    is_about_reply = "max_tokens" in said and not _PROMPT.search(said)
    return bool(_CONTEXT.search(said)) and not is_about_reply


def _completed(content: Mapping[str, Any], seconds: float) -> ChatReply | AskAgain:
    """Read an answer of status 200. A router says in it that the server behind it failed."""
    if error := content.get("error"):
        return AskAgain(_error_said(error))
    choice = content["choices"][0]
    finish, error = choice.get("finish_reason"), choice.get("error")
    is_filtered = finish == "content_filter" or _is_filtered(choice)
    if (error or finish == "error") and not is_filtered:
        return AskAgain(_error_said(error))
    message = choice["message"] or {}
    text, refusal = _text(message.get("content")), _refusal(message)
    if text is None and not (finish or refusal or is_filtered):
        return AskAgain("an answer without content")
    return ChatReply(
        _writable(refusal or text or ""),
        cut_off=finish == "length",
        seconds=seconds,
        prompt_tokens=_count(content, "prompt_tokens"),
        reply_tokens=_count(content, "completion_tokens"),
        is_refusal=bool(refusal) or is_filtered,
        cached_tokens=_cached(content),
        tokens=written_tokens(choice),
    )


def _error_said(error: Any) -> str:
    """Return the error's code; its message may repeat the post."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return f"error {code} in the answer" if isinstance(code, int) else "an error in the answer"


def _text(content: Any) -> str | None:
    """Return the words of a content, which may come in parts; None where there is none."""
    if content is None:
        return None
    if not isinstance(content, list):
        return str(content)
    parts = [part for part in content if isinstance(part, Mapping)]
    return "".join(str(part.get("text") or "") for part in parts if part.get("type") in _TEXT_PARTS)


def _refusal(message: Mapping[str, Any]) -> str:
    """Return the words of a refusal, which is a field of its own or a part; "" where none is."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    said = [message, *(part for part in parts if isinstance(part, Mapping))]
    return "".join(str(each.get("refusal") or "") for each in said)


def _count(content: Mapping[str, Any], kind: str) -> int:
    """Return how many tokens of a kind the server counted; 0 where it did not."""
    used = content.get("usage")
    count = used.get(kind) if isinstance(used, Mapping) else None
    return count if isinstance(count, int) else 0


def _cached(content: Mapping[str, Any]) -> int:
    """Return how many prompt tokens the server had in its cache; 0 where it does not say."""
    used = content.get("usage")
    details = used.get("prompt_tokens_details") if isinstance(used, Mapping) else None
    count = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return count if isinstance(count, int) else 0


def _writable(text: str) -> str:
    """Return a text; half a character, which JSON can spell and no file can hold, is a ?."""
    return text.encode(errors="replace").decode()
