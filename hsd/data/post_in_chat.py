"""Where the post stands in a chat: what its strategy wrote around it, or what all turns share."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os.path import commonprefix

from hsd.data.chat_rows import ChatRow
from hsd.prompts.chat import written_with
from hsd.prompts.contract import Contract
from hsd.prompts.template import Strategy, load_template, shipped_templates

_BEFORE = re.compile(r".*[\n:?!.\"'>\]]\s*", re.DOTALL)
_MARK = re.compile(r"[\n\"'<\[]")
"""Words that turns share end, and begin, at a mark: else posts that begin alike would lose it."""


@dataclass(frozen=True, slots=True)
class Located:
    """The post of a chat, and which strategy wrote the words around it.

    `strategy` is its key, "" for an unknown one; `is_own` says that the contract names it.
    """

    text: str
    strategy: str = ""
    is_own: bool = False


def locate(chats: Sequence[ChatRow], contract: Contract | None) -> list[Located]:
    """Return the post of each chat: by the contract, by a shipped strategy, or by shared words."""
    found = [_known(chat, contract) for chat in chats]
    unknown: dict[str, list[str]] = defaultdict(list)
    for chat, known in zip(chats, found, strict=True):
        if known is None:
            unknown[_system(chat)].append(user_words(chat))
    words = {system: shared_words(users) for system, users in unknown.items()}
    return list(_filled(chats, found, words))


def shared_words(users: Sequence[str]) -> tuple[str, str]:
    """Return what all user turns begin and end with, each up to a mark.

    Nothing where all turns are the same, or where nothing would be left of a turn.
    """
    distinct = set(users)
    if len(distinct) == 1:
        return "", ""
    ends = [min(distinct), max(distinct)]  # between these two lie all others
    opening = _BEFORE.match(commonprefix(ends))
    before = opening[0] if opening else ""
    after = _from_mark(commonprefix([user[::-1] for user in distinct])[::-1])
    if min(map(len, distinct)) <= len(before) + len(after):
        return "", ""
    return before, after


def _from_mark(words: str) -> str:
    """Return words from their first mark on, with the white space before it."""
    mark = _MARK.search(words)
    if mark is None:
        return ""
    return words[len(words[: mark.start()].rstrip()) :]


def user_words(chat: ChatRow) -> str:
    """Return the words of a chat's user turn."""
    return next(turn["content"] for turn in chat.messages if turn["role"] == "user")


def _known(chat: ChatRow, contract: Contract | None) -> Located | None:
    own = contract.strategies if contract else {}
    for strategies in (own, _shipped()):
        written = written_with(chat.id, chat.messages, strategies)
        if written is not None:
            return Located(written[1].post or "", written[0], strategies is own)
    return None


def _filled(
    chats: Sequence[ChatRow],
    found: Sequence[Located | None],
    words: Mapping[str, tuple[str, str]],
) -> Iterator[Located]:
    for chat, known in zip(chats, found, strict=True):
        if known is not None:
            yield known
        else:
            before, after = words[_system(chat)]
            user = user_words(chat)
            yield Located(user[len(before) : len(user) - len(after)])


@cache
def _shipped() -> Mapping[str, Strategy]:
    templates = map(load_template, shipped_templates())
    return {name: strategy for t in templates for name, strategy in t.strategies.items()}


def _system(chat: ChatRow) -> str:
    return next((turn["content"] for turn in chat.messages if turn["role"] == "system"), "")
