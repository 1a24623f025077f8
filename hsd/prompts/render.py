"""The one renderer: from a chat to prompt ids and answer ids.

A chat template is rendered once, with marks where the words of the turns go. What stands between
the marks is cut at the tokenizer's control tokens, so a row is control tokens of the template
with plain text between them, and plain text is encoded by a copy of the tokenizer that takes
control tokens for text. A post that contains `<|im_end|>` therefore stays text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from os.path import commonprefix
from typing import Any

from hsd.errors import DataError, ModelError
from hsd.example import Label
from hsd.prompts.chat import Chat
from hsd.prompts.chat_template import MENDED, chosen_template, literals, render_turns, with_date
from hsd.prompts.contract import Contract
from hsd.prompts.form import (
    ANSWER,
    SLOTS,
    SYSTEM,
    USER,
    Form,
    Part,
    Slot,
    last_control,
    parts_of,
    require_turns,
)
from hsd.prompts.special_tokens import Control, split_vocabulary
from hsd.prompts.token_limit import TokenLimit

_POST = "the new bakery opens on monday, they say."
_AGAIN = 4
"""How often a template is run again: of one that draws one of two, 1 in 16 is let through."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the label of a row is scored by: both ways its answer can go on, and the right one."""

    label: Label
    opening: int
    """How many of the answer's tokens both labels have in common."""
    tails: tuple[list[int], list[int]]
    """Each label whole, up to the token that closes it, hate first."""
    rivals: tuple[list[int], ...]
    """Those of them that the answer itself does not begin with after its opening."""
    weight: float = 1.0
    """How much the row counts among the others."""
    share: float | None = None
    """The share of annotators who said hate, where it is learned instead of the label."""

    @property
    def hate(self) -> float:
        """What P(hate) is to be: the share where it is learned, else 1 or 0 as the label says."""
        return float(self.label == "hate") if self.share is None else self.share


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
    groups: tuple[str, ...] = ()
    """Whom the post is about, where that is told."""

    @property
    def rivals(self) -> tuple[list[int], ...]:
        """What is scored beside the answer: the labels that it does not begin with."""
        return self.target.rivals if self.target else ()


def fork(hate: Sequence[int], normal: Sequence[int]) -> int:
    """Return the first place where the two answers' ids differ: the token that decides."""
    return next(at for at, (a, b) in enumerate(zip(hate, normal, strict=False)) if a != b)


class Renderer:
    """Renders chats for one tokenizer.

    `tokenizer` is a Hugging Face fast tokenizer with a chat template; the contract says what
    goes into that template beside the turns. Raises ModelError when the template cannot be
    taken apart safely.
    """

    def __init__(self, tokenizer: Any, contract: Contract) -> None:
        self._tokenizer = tokenizer
        self._chat_kwargs = contract.chat_kwargs()
        self._chat_template = with_date(chosen_template(tokenizer), contract.chat_date)
        self._answers = contract.answers
        self._strategies = tuple(contract.strategies.values())
        vocabulary = split_vocabulary(tokenizer, self._written())
        self._control, self._plain = vocabulary.control, vocabulary.plain
        self._encode_text = lru_cache(1024)(self._encode_uncached)
        self._forms: dict[bool, Form] = {}
        self._asked: dict[tuple[str, str], tuple[str, str]] = {}

    def encode(
        self, chat: Chat, max_length: int | TokenLimit | None = None, *, shorten: bool = True
    ) -> Encoded:
        """Return the ids of a chat. A chat without an answer gets an empty `answer`.

        When prompt and answer are longer than `max_length` tokens, the post loses its end.
        Raises DataError when that is not wanted, not possible, or would leave no post.
        """
        form = self.form(has_system=bool(chat.system))
        answer = self._answer(form, chat)
        prompt = self._prompt(form, chat)
        tokens = len(prompt) + len(answer)
        limit = (
            max_length if isinstance(max_length, TokenLimit) else TokenLimit(max_length or tokens)
        )
        asked = (chat.system, "" if chat.post is None else chat.before)
        asked = self._asked.setdefault(asked, asked)  # the words once, not once a row
        if tokens <= limit.tokens:
            return Encoded(chat.id, prompt, answer, False, asked, chat.post)
        if not shorten or chat.post is None:
            raise DataError(
                f"row {chat.id}: {tokens} tokens are more than {limit.words}; "
                f"{limit.remedy(tokens)}, or set overflow to truncate_post."
            )
        found = self._shortened(form, chat, chat.post, limit.tokens - len(answer))
        if found is None:
            raise DataError(self._no_room(form, chat, len(answer), limit))
        prompt, post = found
        return Encoded(chat.id, prompt, answer, True, asked, post)

    def opening_text(self, *, has_system: bool) -> str:
        """Return what an answer starts with before its words: a channel; '' for most families."""
        text: str = self._tokenizer.decode(self.opening_ids(has_system=has_system))
        return text

    def opening_ids(self, *, has_system: bool) -> list[int]:
        """Return the ids that an answer starts with before its words."""
        form = self.form(has_system=has_system)
        ids = self._fill(form.answer, Chat(id="", system="", before=""))
        return ids[1 + len(form.end) :]

    def stop_ids(self) -> tuple[int, ...]:
        """Return the ids that end an answer; the first is the one that is trained."""
        stop = self.form(has_system=False).stop
        eos = self._tokenizer.eos_token_id
        return (stop,) if eos in (None, stop) else (stop, eos)

    def note(self, *, has_system: bool) -> str | None:
        """Return in what the prompt is not the one that the base's makers ask with, if it is not.

        An adapter learns the prompt as it is; it is the untouched base that is asked otherwise.
        """
        left_out = self.form(has_system=has_system).left_out
        if not left_out:
            return None
        return (
            f"the base's chat template ends its prompt with {left_out!r}, from where no answer in "
            "a chat goes on; it is left out, so the untouched base is asked otherwise than its "
            "makers ask it"
        )

    def form(self, *, has_system: bool) -> Form:
        """Return the chat template taken apart, with or without a system turn."""
        if has_system not in self._forms:
            self._forms[has_system] = self._take_apart(has_system)
        return self._forms[has_system]

    def _written(self) -> list[str]:
        """Return all texts that the chat template may write, as far as they can be known."""
        texts = literals(self._chat_template)
        for has_system, answered in product((False, True), repeat=2):
            with suppress(ModelError):  # raised again where that form is asked for
                texts.append(self._render(has_system, answered))
        return texts

    def _take_apart(self, has_system: bool) -> Form:
        full = self._render(has_system, answered=True)
        self._require_steady(full, has_system)
        head, mark, tail = full.partition(ANSWER.mark)
        if not mark or ANSWER.mark in tail:
            raise ModelError("the base's chat template does not show an assistant turn as it is.")
        require_turns(
            parts_of(full, self._control), [*([SYSTEM] if has_system else []), USER, ANSWER]
        )
        asked = self._render(has_system, answered=False)
        # A template whose generation prompt is not what stands before a real answer would be
        # trained on one prompt and evaluated on another: then the real answer's head counts.
        fits = head.startswith(asked) and last_control(parts_of(asked, self._control)) is not None
        prompt = asked if fits else head
        stops = [part.id for part in parts_of(tail, self._control) if isinstance(part, Control)]
        stop = stops[0] if stops else self._tokenizer.eos_token_id
        if stop is None:
            raise ModelError("neither chat template nor tokenizer says how an answer ends.")
        form = self._cut(prompt, head[len(prompt) :], stop)
        if not fits:
            rest = asked[len(commonprefix([asked, head])) :]
            form = replace(form, left_out=form.left_out + rest)
        self._check(form, full)
        return form

    def _cut(self, prompt: str, opening: str, stop: int) -> Form:
        """Return the form whose prompt ends with the last token that no answer changes."""
        parts = parts_of(prompt, self._control)
        last = last_control(parts)
        assert last is not None, prompt
        answer = (*parts[last:], *parts_of(opening, self._control), ANSWER)
        alone = self._fill(parts[last:], Chat(id="", system="", before=""))
        begun = [
            self._fill(answer, Chat(id="", system="", before="", answer=words))
            for words in self._answers
        ]
        end = commonprefix([alone, *begun])
        left_out = self._tokenizer.decode(alone[len(end) :])
        return Form(parts[: last + 1], tuple(end[1:]), answer, stop, left_out)

    def _require_steady(self, full: str, has_system: bool) -> None:
        """Refuse a template that writes something else the next time, or around real words.

        Whoever drew at random would train on one prompt and be judged on another; whoever knew the
        marks could hide from every look at the template what it writes around posts.
        """
        for _ in range(_AGAIN):
            if self._render(has_system, answered=True) != full:
                raise ModelError(
                    "the base's chat template writes another prompt each time it is run (by "
                    f"chance or by the clock), so no adapter could learn it; {MENDED}."
                )
        for words in self._real_words():
            said = full
            for slot, text in words.items():
                said = said.replace(slot.mark, text)
            if self._render(has_system, answered=True, words=words) != said:
                raise ModelError(
                    "the base's chat template writes something else around the words of a chat "
                    f"than around marks in their place, so nothing can be said of it; {MENDED}."
                )

    def _real_words(self) -> Iterator[dict[Slot, str]]:
        for strategy in self._strategies:
            before, after = strategy.around_post
            system = strategy.system_prompt.strip() or "Say yes."
            for answer in self._answers:
                user = f"{before}{_POST}{after}".strip()
                yield {SYSTEM: system, USER: user, ANSWER: answer.strip()}

    def _render(
        self, has_system: bool, answered: bool, words: Mapping[Slot, str] | None = None
    ) -> str:
        system, user, answer = (words[slot] if words else slot.mark for slot in SLOTS)
        turns = [{"role": "system", "content": system}] if has_system else []
        turns.append({"role": "user", "content": user})
        if answered:
            turns.append({"role": "assistant", "content": answer})
        try:
            return self._apply(turns, answered)
        except ModelError:
            if not has_system:
                raise
        # Some families know no system turn; their users put its words at the start of the user's.
        turns[:2] = [{"role": "user", "content": f"{system}\n\n{user}"}]
        return self._apply(turns, answered)

    def _apply(self, turns: Sequence[Mapping[str, str]], answered: bool) -> str:
        template, settings = self._chat_template, self._chat_kwargs
        return render_turns(self._tokenizer, template, turns, settings, answered=answered)

    def _check(self, form: Form, full: str) -> None:
        """Taken apart and whole must give the same ids, or the base would see odd tokens."""
        for answer in self._answers:
            words = {SYSTEM: "Say yes.", USER: "Post: a b", ANSWER: answer}
            chat = Chat(id="", system=words[SYSTEM], before=words[USER], answer=answer)
            ours = [*self._prompt(form, chat), *self._answer(form, chat)]
            text = full
            for slot, said in words.items():
                text = text.replace(slot.mark, said)
            whole = self._tokenizer.encode(text, add_special_tokens=False)
            if whole[: len(ours)] != ours and whole + [form.stop] != ours:
                raise ModelError(
                    "the base's tokenizer gives other tokens for a whole chat than for its parts, "
                    "so posts cannot be kept from posing as control tokens; take a base with a "
                    "byte-level tokenizer, as gpt-oss, Llama 3 and Qwen have."
                )

    def _prompt(self, form: Form, chat: Chat) -> list[int]:
        return [*self._fill(form.prompt, chat), *form.end]

    def _answer(self, form: Form, chat: Chat) -> list[int]:
        if chat.answer is None:
            return []
        ids = self._fill(form.answer, chat)[1:]
        begun = len(form.end)
        if tuple(ids[:begun]) != form.end:
            raise DataError(
                f"row {chat.id}: its answer begins within a token of the chat template; expected "
                f"one that begins as {self._answers[0]}."
            )
        return [*ids[begun:], form.stop]

    def _fill(self, parts: Iterable[Part], chat: Chat) -> list[int]:
        """Return the ids of a form with a chat's words in it.

        Words are encoded apart from control tokens, by a tokenizer that knows none: a post that
        holds `<|im_end|>` stays text. Text between two control tokens is encoded as one piece, as
        the template's own output would be.
        """
        words = {SYSTEM: chat.system, USER: chat.user, ANSWER: chat.answer or ""}
        ids: list[int] = []
        text, behind = "", False
        for part in parts:
            if isinstance(part, Control):
                # Some control tokens swallow the white space beside them, as the tokenizer says.
                text = text.rstrip() if part.takes_space_before else text
                ids += (*self._encode_text(text), part.id)
                text, behind = "", part.takes_space_behind
            else:
                text += words[part] if isinstance(part, Slot) else part
                text = text.lstrip() if behind else text
        return [*ids, *self._encode_text(text)]

    def _encode_uncached(self, text: str) -> tuple[int, ...]:
        ids = self._plain.encode(text, add_special_tokens=False).ids if text else ()
        return tuple(ids)

    def _no_room(self, form: Form, chat: Chat, answer: int, limit: TokenLimit) -> str:
        needed = len(self._prompt(form, replace(chat, post=""))) + answer
        return (
            f"row {chat.id}: the prompt has {needed} tokens without the post, so no post fits "
            f"in {limit.words}; {limit.remedy(needed + 1)}, or take a shorter strategy "
            "(--strategy or --prompt-template; in a training's config prompt.strategy)."
        )

    def _shortened(
        self, form: Form, chat: Chat, post: str, limit: int
    ) -> tuple[list[int], str] | None:
        """Return the longest prompt of at most `limit` tokens, and what it holds of the post.

        None where no token of the post fits.
        """
        ends = [end for _, end in self._plain.encode(post, add_special_tokens=False).offsets]

        def start(tokens: int) -> str:
            return post[: ends[tokens - 1]].rstrip()

        def cut(tokens: int) -> list[int]:
            return self._prompt(form, replace(chat, post=start(tokens)))

        # About right: a token less of the post is mostly a token less of the prompt.
        keep = min(len(ends), max(1, len(ends) + limit - len(self._prompt(form, chat))))
        while keep > 1 and (excess := len(cut(keep)) - limit) > 0:
            keep = max(1, keep - excess)
        if keep < 1 or len(cut(keep)) > limit:
            return None
        while keep < len(ends) and len(cut(keep + 1)) <= limit:
            keep += 1
        return cut(keep), start(keep)
