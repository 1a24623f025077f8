"""The one way from a post to the turns of a chat, for training and evaluation alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsd.example import Label
from hsd.prompts.template import Strategy

Message = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The turns of one row. The user turn is `before`, `post` and `after` in one.

    `post` is the part that may be shortened; None where it is not known, as in a chat row that
    somebody else wrote. `answer` is None where the model is to give it.
    """

    id: str
    system: str
    before: str
    post: str | None = None
    after: str = ""
    answer: str | None = None

    @property
    def user(self) -> str:
        """The words of the user turn."""
        return self.before + (self.post or "") + self.after


def answer_json(label: Label, rationale: str = "") -> str:
    """Return the answer the model is trained to give: strict JSON, classification first."""
    answer = {"classification": label, **({"rationale": rationale} if rationale else {})}
    return json.dumps(answer, ensure_ascii=False)


def make_chat(
    strategy: Strategy, id: str, text: str, label: Label | None = None, rationale: str = ""
) -> Chat:
    """Return the chat that asks `strategy` about a post, with the answer when `label` is given.

    The rationale is left out unless the strategy asks for one. Whitespace around the post goes,
    since chat templates differ in whether they trim it.
    """
    before, after = strategy.around_post
    reason = rationale.strip() if strategy.parameters.rationale else ""
    return Chat(
        id=id,
        system=strategy.system_prompt,
        before=before,
        post=text.strip(),
        after=after,
        answer=None if label is None else answer_json(label, reason),
    )


def chat_messages(
    strategy: Strategy, text: str, label: Label | None = None, rationale: str | None = None
) -> list[Message]:
    """Return the chat as the messages of a training row (`{"role", "content"}`)."""
    chat = make_chat(strategy, "", text, label, rationale or "")
    turns = {"system": chat.system, "user": chat.user, "assistant": chat.answer}
    return [{"role": role, "content": content} for role, content in turns.items() if content]


def chat_of_messages(
    id: str, messages: Sequence[Mapping[str, str]], strategy: Strategy | None = None
) -> Chat:
    """Return the chat of a training row; `strategy` tells where in it the post stands.

    The turns are an optional system, one user and one assistant turn (`stream_chats` sees to it).
    White space ahead of the answer goes: it would be one token with the chat template's.
    """
    turns = {message["role"]: message["content"] for message in messages}
    before, post, after = _around_post(turns["user"], strategy)
    return Chat(
        id=id,
        system=turns.get("system", ""),
        before=before,
        post=post,
        after=after,
        answer=turns["assistant"].lstrip(),
    )


def written_with(
    id: str, messages: Sequence[Mapping[str, str]], strategies: Mapping[str, Strategy]
) -> tuple[str, Chat] | None:
    """Return the key of the strategy that a training row was written with, and its chat.

    None when it was none of them. One strategy's words may begin with another's: then the one
    that says more has asked.
    """
    chats = [(key, chat_of_messages(id, messages, s), s) for key, s in strategies.items()]
    fitting = [
        (key, chat, chat.post)
        for key, chat, strategy in chats
        if chat.post is not None and chat.system == strategy.system_prompt
    ]
    if not fitting:
        return None
    key, chat, _ = min(fitting, key=lambda found: len(found[2]))
    return key, chat


def _around_post(user: str, strategy: Strategy | None) -> tuple[str, str | None, str]:
    if strategy is not None:
        before, after = strategy.around_post
        post = user[len(before) : len(user) - len(after)]
        if post and user == before + post + after:
            return before, post, after
    return user, None, ""
