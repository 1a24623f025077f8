"""The one renderer: from a chat to prompt ids and answer ids.

A chat template is rendered once, with marks where the words of the turns go. What stands between
the marks is cut at the tokenizer's control tokens, so a row is control tokens of the template
with plain text between them, and plain text is encoded by a copy of the tokenizer that knows no
control tokens. A post that contains `<|im_end|>` therefore stays text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from hsd.errors import DataError, ModelError
from hsd.prompts.chat import Chat
from hsd.prompts.contract import Contract


@dataclass(frozen=True, slots=True)
class Target:
    """What the label of a row is scored by: both ways its answer can go on, and the right one."""

    hate: float
    """The share of annotators who said hate: 1 or 0 where the label is all that is known."""
    opening: int
    """How many of the answer's tokens both labels have in common."""
    tails: tuple[list[int], list[int]]
    """Each label whole, up to the token that closes it, hate first."""
    rivals: tuple[list[int], ...]
    """Those of them that the answer itself does not begin with after its opening."""
    weight: float = 1.0
    """How much the row counts among the others."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as token ids: what the model reads, and what it is to say, stop token included."""

    id: str
    prompt: list[int]
    answer: list[int]
    shortened: bool = False
    asked: tuple[str, str] = ("", "")
    """The system turn and the words before the post: rows with the same may share a prefix.
    Without the latter where it is not known which part of the user turn is the post."""
    post: str | None = None
    """The post as the model reads it, without an end that was cut; None where it is not known."""
    target: Target | None = None
    """None where no label is scored."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a turn's words in a chat template."""

    turn: str

    @property
    def mark(self) -> str:
        """Stands in for the words while the chat template is rendered."""
        return f"HSDSLOT{self.turn.upper()}HERE"


TODAY = re.compile(r"""strftime_now\(\s*(['"])(.+?)\1\s*\)""")
"""How chat templates ask for the date; transformers lets no argument replace that function."""
ANY_DAY = re.compile(r"strftime_now\s*\(")

SYSTEM, USER, ANSWER = Slot("system"), Slot("user"), Slot("answer")

Part = int | str | Slot
"""A control token, plain text of the template, or the place of a turn's words."""


@dataclass(frozen=True, slots=True)
class Form:
    """A chat template with its words taken out."""

    prompt: tuple[Part, ...]
    opening: tuple[Part, ...]
    """What an answer starts with before its words: a channel, an empty thinking block."""
    stop: int


def fork(hate: Sequence[int], normal: Sequence[int]) -> int:
    """Return the first place where the two answers' ids differ: the token that decides."""
    return next(at for at, (a, b) in enumerate(zip(hate, normal, strict=False)) if a != b)


def with_date(chat_template: str, day: date) -> str:
    """Return a chat template that writes `day` wherever it would write today's date.

    Raises ModelError when it asks for the date in a way that cannot be replaced.
    """
    dated = TODAY.sub(lambda call: repr(day.strftime(call[2])), chat_template)
    if ANY_DAY.search(dated):
        raise ModelError(
            "the base's chat template writes today's date in a form made while it runs, so "
            "tomorrow's prompt would be another one; hsd cannot use this base."
        )
    return dated


class Renderer:
    """Renders chats for one tokenizer.

    `tokenizer` is a Hugging Face fast tokenizer with a chat template; the contract says what
    goes into that template beside the turns. Raises ModelError when the template cannot be
    taken apart safely.
    """

    def __init__(self, tokenizer: Any, contract: Contract) -> None:
        self._tokenizer = tokenizer
        self._chat_kwargs = contract.chat_kwargs()
        # Some bases have several templates by name; this is the default one.
        self._chat_template = with_date(tokenizer.get_chat_template(), contract.chat_date)
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        # Some vocabularies add runs of spaces as tokens; those control nothing and stay.
        blank = [t for t in backend["added_tokens"] if t["content"].isspace()]
        control = [t for t in backend["added_tokens"] if not t["content"].isspace()]
        self._control = {t["content"]: int(t["id"]) for t in control}
        self._plain = type(tokenizer.backend_tokenizer).from_str(
            json.dumps(backend | {"added_tokens": blank, "truncation": None, "padding": None})
        )
        self._encode_text = lru_cache(1024)(self._encode_uncached)
        self._forms: dict[bool, Form] = {}
        self._asked: dict[tuple[str, str], tuple[str, str]] = {}
        self._require_unspeakable(t["content"] for t in control if t["special"])

    def encode(self, chat: Chat, max_length: int | None = None, *, shorten: bool = True) -> Encoded:
        """Return the ids of a chat. A chat without an answer gets an empty `answer`.

        When prompt and answer are longer than `max_length` tokens, the post loses its end.
        Raises DataError when that is not wanted, not possible, or would leave no post.
        """
        form = self.form(has_system=bool(chat.system))
        answer = self._answer(form, chat)
        prompt = self._fill(form.prompt, chat)
        limit = (max_length or len(prompt) + len(answer)) - len(answer)
        asked = (chat.system, "" if chat.post is None else chat.before)
        asked = self._asked.setdefault(asked, asked)  # the words once, not once a row
        if len(prompt) <= limit:
            return Encoded(chat.id, prompt, answer, False, asked, chat.post)
        if not shorten or chat.post is None:
            raise DataError(
                f"row {chat.id}: {len(prompt) + len(answer)} tokens are more than max_length "
                f"{max_length}. Raise max_length or set overflow to truncate_post."
            )
        prompt, post = self._shortened(form, chat, chat.post, limit)
        return Encoded(chat.id, prompt, answer, True, asked, post)

    def opening_text(self, *, has_system: bool) -> str:
        """Return what an answer starts with before its words: a channel; '' for most families."""
        ids = self._fill(
            self.form(has_system=has_system).opening, Chat(id="", system="", before="")
        )
        text: str = self._tokenizer.decode(ids)
        return text

    def stop_ids(self) -> tuple[int, ...]:
        """Return the ids that end an answer; the first is the one that is trained."""
        stop = self.form(has_system=False).stop
        eos = self._tokenizer.eos_token_id
        return (stop,) if eos in (None, stop) else (stop, eos)

    def form(self, *, has_system: bool) -> Form:
        """Return the chat template taken apart, with or without a system turn."""
        if has_system not in self._forms:
            self._forms[has_system] = self._take_apart(has_system)
        return self._forms[has_system]

    def _require_unspeakable(self, control: Iterable[str]) -> None:
        """Refuse a vocabulary in which plain text can become a control token."""
        for token in control:
            for text in (token, f"a{token}a"):
                if self._control[token] in self._encode_uncached(text):
                    raise ModelError(
                        f"the base's tokenizer makes its control token {token} from plain text, "
                        "so posts could pose as it; hsd cannot use this base."
                    )

    def _take_apart(self, has_system: bool) -> Form:
        full = self._render(has_system, answered=True)
        head, mark, tail = full.partition(ANSWER.mark)
        if not mark or ANSWER.mark in tail:
            raise ModelError("the base's chat template does not show an assistant turn as it is.")
        asked = self._render(has_system, answered=False)
        # A template whose generation prompt is not what stands before a real answer would be
        # trained on one prompt and evaluated on another: then the real answer's head counts.
        prompt = asked if head.startswith(asked) else head
        stops = [part for part in self._parts(tail) if isinstance(part, int)]
        stop = stops[0] if stops else self._tokenizer.eos_token_id
        if stop is None:
            raise ModelError("neither chat template nor tokenizer says how an answer ends.")
        form = Form(self._parts(prompt), self._parts(head[len(prompt) :]), stop)
        self._check(form, full, has_system)
        return form

    def _render(self, has_system: bool, answered: bool) -> str:
        system, user = SYSTEM.mark, USER.mark
        turns = [{"role": "system", "content": system}] if has_system else []
        turns.append({"role": "user", "content": user})
        if answered:
            turns.append({"role": "assistant", "content": ANSWER.mark})
        try:
            return self._apply(turns, answered)
        except TemplateError as error:
            if not has_system:
                raise ModelError(f"the base's chat template fails: {error}.") from None
        # Some families know no system turn; their users put its words at the start of the user's.
        turns[:2] = [{"role": "user", "content": f"{system}\n\n{user}"}]
        try:
            return self._apply(turns, answered)
        except TemplateError as error:
            raise ModelError(f"the base's chat template fails: {error}.") from None

    def _apply(self, turns: Sequence[Mapping[str, str]], answered: bool) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=not answered,
            chat_template=self._chat_template,
            **self._chat_kwargs,
        )
        return rendered

    def _parts(self, rendered: str) -> tuple[Part, ...]:
        known: dict[str, Part] = {slot.mark: slot for slot in (SYSTEM, USER, ANSWER)}
        known |= self._control
        names = sorted(known, key=len, reverse=True)
        pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", rendered)
        return tuple(known.get(piece, piece) for piece in pieces if piece)

    def _check(self, form: Form, full: str, has_system: bool) -> None:
        """Taken apart and whole must give the same ids, or the base would see odd tokens."""
        slots = [part for part in form.prompt if isinstance(part, Slot)]
        if slots != ([SYSTEM, USER] if has_system else [USER]):
            raise ModelError(f"the base's chat template shows the turns {[s.turn for s in slots]}.")
        words = {"system": "Say yes.", "user": "Post: a b", "answer": '{"classification": "hate"}'}
        chat = Chat(id="", system=words["system"], before=words["user"], answer=words["answer"])
        ours = [*self._fill(form.prompt, chat), *self._answer(form, chat)]
        for slot in (SYSTEM, USER, ANSWER):
            full = full.replace(slot.mark, words[slot.turn])
        whole = self._tokenizer.encode(full, add_special_tokens=False)
        if whole[: len(ours)] != ours and whole + [form.stop] != ours:
            raise ModelError(
                "the base's tokenizer gives other tokens for a whole chat than for its parts, so "
                "posts cannot be kept from posing as control tokens; hsd cannot use this base."
            )

    def _answer(self, form: Form, chat: Chat) -> list[int]:
        if chat.answer is None:
            return []
        return [*self._fill((*form.opening, ANSWER), chat), form.stop]

    def _fill(self, parts: Iterable[Part], chat: Chat) -> list[int]:
        words = {SYSTEM: chat.system, USER: chat.user, ANSWER: chat.answer or ""}
        ids: list[int] = []
        text = ""
        for part in parts:
            if isinstance(part, int):
                ids += (*self._encode_text(text), part)
                text = ""
            else:
                text += words[part] if isinstance(part, Slot) else part
        return [*ids, *self._encode_text(text)]

    def _encode_uncached(self, text: str) -> tuple[int, ...]:
        ids = self._plain.encode(text, add_special_tokens=False).ids if text else ()
        return tuple(ids)

    def _shortened(self, form: Form, chat: Chat, post: str, limit: int) -> tuple[list[int], str]:
        """Return the longest prompt of at most `limit` tokens, and what it holds of the post."""
        ends = [end for _, end in self._plain.encode(post, add_special_tokens=False).offsets]

        def start(tokens: int) -> str:
            return post[: ends[tokens - 1]].rstrip()

        def cut(tokens: int) -> list[int]:
            return self._fill(form.prompt, replace(chat, post=start(tokens)))

        # About right: a token less of the post is mostly a token less of the prompt.
        keep = min(len(ends), max(1, len(ends) + limit - len(self._fill(form.prompt, chat))))
        while keep > 1 and (excess := len(cut(keep)) - limit) > 0:
            keep = max(1, keep - excess)
        if keep < 1 or len(cut(keep)) > limit:
            raise DataError(
                f"row {chat.id}: the prompt without the post is longer than max_length allows; "
                "raise max_length or take a shorter strategy."
            )
        while keep < len(ends) and len(cut(keep + 1)) <= limit:
            keep += 1
        return cut(keep), start(keep)
