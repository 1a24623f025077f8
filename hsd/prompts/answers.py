"""From what a model wrote to an outcome and a label, without ever guessing.

A reply that cannot be read has no label: never "normal", never a search for a word in the text.
"""

import ast
import json
import re
import warnings
from dataclasses import dataclass
from typing import Any

from hsd.example import LABELS, Label
from hsd.prediction import Outcome

CHANNEL = "<|channel|>"
FINAL_CHANNEL = re.compile(r"<\|channel\|>final(?:\s*<\|constrain\|>\s*\w+|\s[^<]*)?<\|message\|>")
FENCE = re.compile(r"```(?:json)?(.*?)```", re.DOTALL)
MARK = re.compile(r'\\[\\"]|["{}]')
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can't|cannot|can not|won't|will not)|"
    r"as an ai|i must decline|unable to (?:help|assist|comply|classify))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a reply says: a label unless the outcome is refusal, truncated or invalid."""

    outcome: Outcome
    label: Label | None = None
    rationale: str = ""


def read_reply(reply: str, *, cut_off: bool = False) -> ParsedReply:
    """Return the outcome of a reply; `cut_off` says it ran into the token limit.

    `valid` is one strict JSON object with a known label and nothing around it. `repaired` is
    the last object found in the final channel, a fenced block or the text, or one whose only
    fault is quoting, doubled braces or letter case. What a model thinks in another channel than
    the final one is no answer.
    """
    text = reply.strip()
    if (strict := _strict(text)) is not None:
        return strict
    final = text[answer_start(text) :]
    for candidate in (*reversed(FENCE.findall(final)), *_objects(final)):
        content = _lenient(candidate.strip())
        if isinstance(content, dict) and "classification" in content:
            return _repaired(content) or _unreadable(final, cut_off)
    return _unreadable(final, cut_off)


def answer_start(text: str) -> int:
    """Return where the final channel's words start: 0 without channels, the end without a final.

    Only harmony models (gpt-oss) write channels.
    """
    ends = [found.end() for found in FINAL_CHANNEL.finditer(text)]
    return ends[-1] if ends else len(text) if CHANNEL in text else 0


def object_end(text: str) -> int | None:
    """Return the index just past the answer's first complete JSON object, None while it is open."""
    return _closings(text).get(text.find("{", answer_start(text)))


def _strict(text: str) -> ParsedReply | None:
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    label = content.get("classification") if isinstance(content, dict) else None
    if not isinstance(label, str) or label not in LABELS:
        return None
    return ParsedReply("valid", label, _rationale(content))


def _repaired(content: dict[str, Any]) -> ParsedReply | None:
    word = content["classification"]
    label = word.strip().lower() if isinstance(word, str) else None
    for known in LABELS:
        if label == known:
            return ParsedReply("repaired", known, _rationale(content))
    return None


def _unreadable(final: str, cut_off: bool) -> ParsedReply:
    if cut_off:
        return ParsedReply("truncated")
    return ParsedReply("refusal" if REFUSAL.search(final.replace("\u2019", "'")) else "invalid")


def _lenient(text: str) -> Any:
    """Parse JSON, or a Python literal for replies with single quotes; None if neither."""
    if text.startswith("{{") and text.endswith("}}"):
        text = text[1:-1]
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError:
        return _python_literal(text)
    except (ValueError, RecursionError):
        return None


def _python_literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python remarks on a backslash in a post's quotation
            node = ast.parse(text, mode="eval").body
        content = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    twice = isinstance(node, ast.Dict) and len(content) != len(node.keys)
    return None if twice else content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says a key twice: which of the two did it mean?"""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    return content


def _rationale(content: dict[str, Any]) -> str:
    """Return the reason; half a character, which JSON can spell and no file can hold, is a ?."""
    value = content.get("rationale", "")
    return value.strip().encode(errors="replace").decode() if isinstance(value, str) else ""


def _objects(text: str) -> list[str]:
    """Return the complete top-level `{...}` parts of a text, last first."""
    closings = _closings(text)
    found: list[str] = []
    start = text.find("{")
    while start >= 0:
        end = closings.get(start)
        if end is not None:
            found.append(text[start:end])
        start = text.find("{", end or start + 1)
    return found[::-1]


def _closings(text: str) -> dict[int, int]:
    """Return, for each `{` that closes, the index just past its `}`.

    Read from a `{`, braces within quotes do not count. For a `{` that stands within quotes itself,
    the two have changed places: it is matched with its like. One pass, since a broken reply may
    be thousands of braces.
    """
    opened: tuple[list[int], list[int]] = ([], [])
    quoted, closings = False, {}
    for mark in MARK.finditer(text):
        match mark[0]:
            case '"':
                quoted = not quoted
            case "{":
                opened[quoted].append(mark.start())
            case "}" if opened[quoted]:
                closings[opened[quoted].pop()] = mark.end()
    return closings
