"""Training rows that are chats already: `{"messages": [{"role", "content"}, ...]}`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.data.example import LABELS, Label
from hsd.data.loaded import derived_id
from hsd.data.rows import BadRow, Row, read_rows
from hsd.errors import DataError

ROLES = ("system", "user", "assistant")
ORDERS = (["system", "user", "assistant"], ["user", "assistant"])


@dataclass(frozen=True, slots=True)
class ChatRow:
    """One chat to learn: its turns, the last of which is the answer."""

    id: str
    messages: tuple[Mapping[str, str], ...]
    place: str

    @property
    def label(self) -> Label:
        """The classification in the answer."""
        label: Label = json.loads(self.messages[-1]["content"])["classification"]
        return label


def is_chat(values: Mapping[str, Any]) -> bool:
    """Return whether a row holds a chat, not a post."""
    return "messages" in values


def load_chat(path: Path) -> list[ChatRow]:
    """Return the chats of a JSONL file. Raises DataError that lists the first five bad rows."""
    rows, bad = read_rows(path)
    chats: dict[str, ChatRow] = {}
    for position, row in enumerate(rows):
        reason = problem(row.values)
        if reason is None:
            chat = _chat(row, position)
            other = chats.setdefault(chat.id, chat)
            reason = None if other is chat else f"id '{chat.id}' is also at {other.place}"
        if reason is not None:
            bad.append(BadRow(row.place, reason))
    if bad:
        listed = "; ".join(f"{row.place}: {row.reason}" for row in bad[:5])
        raise DataError(f"{len(bad)} of {len(rows)} chats cannot be used: {listed}.")
    return list(chats.values())


def problem(values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a chat row, None when nothing is."""
    messages = values.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return "'messages' is not a list of turns"
    for message in messages:
        if message.get("role") not in ROLES:
            return f"unknown role {str(message.get('role'))[:40]!r}; known: {', '.join(ROLES)}"
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return f"the {message['role']} turn has no content"
    roles = [message["role"] for message in messages]
    if roles not in ORDERS:
        return f"turns are {', '.join(roles) or 'none'}; expected [system,] user, assistant"
    return _answer_problem(messages[-1]["content"])


def _answer_problem(answer: str) -> str | None:
    try:
        value = json.loads(answer)
    except json.JSONDecodeError:
        return "the assistant turn is not JSON"
    label = value.get("classification") if isinstance(value, dict) else None
    if label not in LABELS:
        return f"the answer's classification is {str(label)[:40]!r}; expected hate or normal"
    return None


def _chat(row: Row, position: int) -> ChatRow:
    turns = tuple(
        {"role": turn["role"], "content": turn["content"]} for turn in row.values["messages"]
    )
    name = str(row.values.get("id") or derived_id(json.dumps(turns), position))
    return ChatRow(name, turns, row.place)
