"""Training rows that are chats already: `{"messages": [{"role", "content"}, ...]}`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.data import cell_values
from hsd.data.json_rows import WrittenTwiceError, value_of
from hsd.data.label_names import parse_label
from hsd.data.loaded_file import Bad, derived_id, listed
from hsd.data.read_rows import BadRow, Row, stream_rows
from hsd.data.unread_columns import unread
from hsd.errors import DataError
from hsd.example import LABELS, Label

READS = frozenset(
    {"id", "messages", "label", "hate_share", "target_group", "group_names"}
    | {"source_dataset", "split"}
)
"""The columns of a chat; `label` is noted beside the answer, which must say the same."""
ROLES = ("system", "user", "assistant")
ORDERS = (["system", "user", "assistant"], ["user", "assistant"])


@dataclass(frozen=True, slots=True)
class ChatRow:
    """One chat to learn: its turns, the last of which is the answer."""

    id: str
    messages: tuple[Mapping[str, str], ...]
    place: str
    hate_share: float | None = None
    """Noted beside the messages, as the group is; the answer says the label."""
    target_group: str = ""
    """As `hsd prepare` notes it beside the messages; never part of them."""
    source_dataset: str = ""
    split: str = ""

    @property
    def label(self) -> Label:
        """The classification in the answer."""
        label: Label = json.loads(self.messages[-1]["content"])["classification"]
        return label


def is_chat(values: Mapping[str, Any]) -> bool:
    """Return whether a row holds a chat, not a post."""
    return "messages" in values


def holds_chats(path: Path) -> bool:
    """Return whether a file's first row is a chat."""
    return is_chat(_first(path))


def unread_in_chats(path: Path) -> list[str]:
    """Return what a file's first chat holds that a person may believe to be read."""
    return unread(_first(path), READS)


def _first(path: Path) -> Mapping[str, Any]:
    rows = (row for row in stream_rows(path) if isinstance(row, Row))
    return next((row.values for row in rows), {})


def stream_chats(path: Path) -> Iterator[ChatRow]:
    """Yield the chats of a file as they are read.

    Raises DataError at its end, listing the reasons and first places of bad rows, if there are any.
    """
    places: dict[str, str] = {}
    bad = []
    position = -1
    for position, row in enumerate(stream_rows(path)):
        chat = chat_row(row, position) if isinstance(row, Row) else row
        if isinstance(chat, ChatRow) and chat.id in places:
            chat = BadRow(row.place, f"id '{chat.id}' is also at {places[chat.id]}")
        if isinstance(chat, ChatRow):
            places[chat.id] = chat.place
            yield chat
        else:
            bad.append(chat)
    if bad:
        raise DataError(f"{len(bad)} of {position + 1} chats cannot be used: {listed(bad)}.")


def chat_row(row: Row, position: int) -> ChatRow | BadRow:
    """Return a row as a chat, or what is wrong with it; without an id it gets a derived one."""
    if (reason := problem(row.values)) is not None:
        return BadRow(row.place, reason)
    messages = cell_values.contained(row.values, "messages")
    turns = tuple({"role": turn["role"], "content": turn["content"]} for turn in messages)
    name = str(row.values.get("id") or derived_id(json.dumps(turns), position))
    groups = cell_values.names(row.values, "group_names", "target_group")
    if isinstance(groups, Bad):
        return BadRow(row.place, groups.reason)
    share = cell_values.share(row.values, "hate_share")
    if isinstance(share, Bad):
        return BadRow(row.place, share.reason)
    named = "|".join(groups) if isinstance(groups, list) else str(groups or "")
    noted = (cell_values.string(row.values, key) for key in ("source_dataset", "split"))
    return ChatRow(name, turns, row.place, share, named, *noted)


def problem(values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a chat row, None when nothing is."""
    messages = cell_values.contained(values, "messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return "'messages' is not a list of turns"
    for message in messages:
        if message.get("role") not in ROLES:
            return f"unknown role {str(message.get('role'))[:40]!r}; known: {', '.join(ROLES)}"
        content = message.get("content")
        if isinstance(content, list | dict):
            return (
                f"the content of the {message['role']} turn is a {type(content).__name__}, no text"
            )
        if not isinstance(content, str) or not content.strip():
            return f"the {message['role']} turn has no content"
    roles = [message["role"] for message in messages]
    if roles not in ORDERS:
        return f"turns are {', '.join(roles) or 'none'}; expected [system,] user, assistant"
    return _answer_problem(messages[-1]["content"], parse_label(values.get("label")))


def _answer_problem(answer: str, noted: Label | None) -> str | None:
    try:
        value = value_of(answer)
    except WrittenTwiceError as error:
        return f"the answer writes the key '{error}' twice; expected each key once"
    except (ValueError, RecursionError):
        return "the assistant turn is not JSON"
    label = value.get("classification") if isinstance(value, dict) else None
    if label not in LABELS:
        return f"the answer's classification is {str(label)[:40]!r}; expected hate or normal"
    if noted not in (None, label):
        return f"'label' says {noted}, but the answer's classification is {label}"
    return None
