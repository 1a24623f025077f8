"""A chat template with the words of its turns taken out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hsd.errors import ModelError
from hsd.prompts.special_tokens import Control


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a turn's words in a chat template."""

    turn: str

    @property
    def mark(self) -> str:
        """Stands in for the words while the chat template is rendered."""
        return f"HSDSLOT{self.turn.upper()}HERE"


SYSTEM, USER, ANSWER = SLOTS = Slot("system"), Slot("user"), Slot("answer")

Part = Control | str | Slot
"""A control token, plain text of the template, or the place of a turn's words."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is read and said around the words of the turns.

    Where the text of the prompt ends, its tokens need not: Qwen3-Thinking's prompt ends with a line
    end that is one token with the next, with which an answer begins. The cut is then at the last
    token that the prompt has with and without an answer.
    """

    prompt: tuple[Part, ...]
    """Up to its last control token."""
    end: tuple[int, ...]
    """The prompt's ids behind that token, which are the same whatever is asked."""
    answer: tuple[Part, ...]
    """From that token on to the answer's words. Its first ids are the token's and those of `end`,
    then what an answer starts with before its words: a channel, an empty thinking block."""
    stop: int
    left_out: str = ""
    """What the template ends a prompt with and a given answer does not go on from."""


def parts_of(rendered: str, control: Mapping[str, Control]) -> tuple[Part, ...]:
    """Return a rendered chat, cut at its control tokens and at the marks of the slots."""
    known: dict[str, Part] = {**control, **{slot.mark: slot for slot in SLOTS}}
    names = sorted(known, key=len, reverse=True)
    pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", rendered)
    return tuple(known.get(piece, piece) for piece in pieces if piece)


def last_control(parts: Sequence[Part]) -> int | None:
    """Return the place of the last control token behind the last slot; None without one."""
    for place in range(len(parts) - 1, -1, -1):
        if isinstance(parts[place], Control):
            return place
        if isinstance(parts[place], Slot):
            break
    return None


def require_turns(parts: Sequence[Part], turns: Sequence[Slot]) -> None:
    """Refuse a template that loses turns, or lets the words of one pose as the next.

    Between the words of two turns stands a control token, which no post can contain. The system
    turn's words may be put in front of the user's as a part of that turn. Raises ModelError.
    """
    places = [place for place, part in enumerate(parts) if isinstance(part, Slot)]
    if (found := [parts[place] for place in places]) != list(turns):
        shown = [slot.turn for slot in found if isinstance(slot, Slot) and slot != ANSWER]
        raise ModelError(f"the base's chat template shows the turns {shown}.")
    for before, behind in reversed(list(pairwise(places))):  # what nothing helps against first
        between = parts[before + 1 : behind]
        text = "".join(part for part in between if isinstance(part, str))
        if any(isinstance(part, Control) for part in between):
            continue
        if parts[behind] == USER and not text.strip():
            continue
        raise ModelError(_posing(text.strip(), parts[before] == SYSTEM))


def _posing(mark: str, of_system: bool) -> str:
    turns = "system and user turn" if of_system else "user turn and answer"
    helps = ", or a strategy without a system prompt" if of_system else ""
    return (
        f"the base's chat template parts {turns} by plain text ({mark!r}), which a post may "
        "contain and so pose as the template; take a base that marks its turns with control "
        f"tokens, as Llama 3, Qwen and Mistral from v0.3 on do{helps}."
    )
