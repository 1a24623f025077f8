"""From what a model wrote to an outcome and a label, without ever guessing.

A reply that cannot be read has no label: never "normal", never a search for a word in the text.
"""

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

from hsd.data.example import LABELS, Label
from hsd.metrics.prediction import Outcome

FINAL_CHANNEL = re.compile(r"<\|channel\|>final(?:\s[^<]*)?<\|message\|>")
FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can't|cannot|can not|won't|will not)|"
    r"as an ai|i must decline|unable to (?:help|assist|comply|classify))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says: a label unless the outcome is refusal, truncated or invalid."""

    outcome: Outcome
    label: Label | None = None
    rationale: str = ""


def read_reply(reply: str, *, cut_off: bool = False) -> Reading:
    """Return the outcome of a reply; `cut_off` says it ran into the token limit.

    `valid` is one strict JSON object with a known label and nothing around it. `repaired` is
    the last object found in the final channel, a fenced block or the text, or one whose only
    fault is quoting or letter case.
    """
    text = reply.strip()
    if (strict := _strict(text)) is not None:
        return strict
    final = FINAL_CHANNEL.split(text)[-1]
    for candidate in (*reversed(FENCE.findall(final)), *_objects(final)):
        if (reading := _repaired(candidate)) is not None:
            return reading
    if cut_off:
        return Reading("truncated")
    return Reading("refusal" if REFUSAL.search(final.replace("\u2019", "'")) else "invalid")


def object_end(text: str) -> int | None:
    """Return the index just past the first complete JSON object, None while it is open."""
    start = text.find("{")
    return None if start < 0 else _closing(text, start)


def _strict(text: str) -> Reading | None:
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    label = content.get("classification") if isinstance(content, dict) else None
    if not isinstance(label, str) or label not in LABELS:
        return None
    return Reading("valid", label, _rationale(content))


def _repaired(candidate: str) -> Reading | None:
    content = _lenient(candidate.strip())
    word = content.get("classification") if isinstance(content, dict) else None
    label = word.strip().lower() if isinstance(word, str) else None
    for known in LABELS:
        if label == known:
            return Reading("repaired", known, _rationale(content))
    return None


def _lenient(text: str) -> Any:
    """Parse JSON, or a Python literal for replies with single quotes; None if neither."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError:
        return _python_literal(text)
    except (ValueError, RecursionError):
        return None


def _python_literal(text: str) -> Any:
    try:
        node = ast.parse(text, mode="eval").body
        content = ast.literal_eval(node)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
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
    value = content.get("rationale", "")
    return value.strip() if isinstance(value, str) else ""


def _objects(text: str) -> list[str]:
    """Return the complete top-level `{...}` parts of a text, last first."""
    found: list[str] = []
    start = text.find("{")
    while start >= 0:
        end = _closing(text, start)
        if end is None:
            start = text.find("{", start + 1)
            continue
        found.append(text[start:end])
        start = text.find("{", end)
    return found[::-1]


def _closing(text: str, start: int) -> int | None:
    depth, quoted, escaped = 0, False, False
    for index in range(start, len(text)):
        char = text[index]
        if quoted:
            quoted, escaped = (char != '"' or escaped), char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return index + 1
    return None
