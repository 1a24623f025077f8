"""P(hate) from the log-probabilities that a server sends beside a reply.

A reply forks where its label begins: `{"classification": "` is behind it, and `hate` or `normal` is
ahead. The likeliest tokens at that place say how likely each label is, if both labels' tokens are
among them. What was written before is the model's own. A label's further tokens do not count, since
a server tells them of the written label alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any

from hsd.counted import counted
from hsd.example import LABELS, Label

_LABEL = re.compile(
    rb'"classification"\s*:\s*"(?=(?:' + "|".join(LABELS).encode() + rb')")', re.ASCII
)


ROUNDING = 0.25
"""How far two log-probabilities may differ by rounding: two bfloat16 steps of a logit near 30."""


@dataclass(frozen=True, slots=True)
class WrittenToken:
    """A token of a reply, and the log-probabilities of the likeliest ones at its place."""

    text: bytes
    likely: tuple[tuple[bytes, float], ...]
    """Bytes and log-probability; two tokens of a vocabulary may have the same bytes."""


@dataclass(frozen=True, slots=True)
class LabelScore:
    """P(hate) of a reply, or why there is none."""

    score: float | None
    reason: str = ""


def written_tokens(choice: Mapping[str, Any]) -> tuple[WrittenToken, ...]:
    """Return the tokens of a choice with their log-probabilities; () where a server sends none.

    Raises KeyError or TypeError for what is not in OpenAI's form.
    """
    found = choice.get("logprobs") or {}
    return tuple(map(_token, found.get("content") or ()))


def label_score(reply: str, tokens: Sequence[WrittenToken]) -> LabelScore:
    """Return P(hate) at the place where a reply's label begins.

    The reply was written at temperature 0, so a likelier token of the label that it does not write
    says that the log-probabilities are of something else.
    """
    if not tokens:
        return LabelScore(None, "the server sent no log-probabilities")
    spelled, text = b"".join(token.text for token in tokens), reply.encode()
    start = spelled.rfind(text)  # a stop token may stand behind a reply, thoughts before it
    if start < 0:
        return LabelScore(None, "the tokens of the log-probabilities do not spell the reply")
    places = list(_LABEL.finditer(text))
    if len(places) != 1:
        return LabelScore(None, "the reply does not write its label once, as JSON")
    token, head = _token_at(tokens, start + places[0].end())
    written = next(label for label in LABELS if text.startswith(label.encode(), places[0].end()))
    return _score(token, head, written)


def _score(token: WrittenToken, head: bytes, written: Label) -> LabelScore:
    """Return P(hate) at a token whose reply says the label `written`."""
    found = {label: _beginning(token, head, label.encode()) for label in LABELS}
    hate, normal = (sum(map(exp, found[label])) for label in LABELS)
    if not (hate and normal):
        missing = LABELS[0] if not hate else LABELS[1]
        among = f"one of the {counted(len(token.likely), 'likeliest token')}"
        if len(token.likely) == 1:
            among = "the one token that the server sent as likely at the place"
        return LabelScore(None, f"'{missing}' does not begin {among} of the label")
    if not isfinite(hate + normal):
        return LabelScore(None, "the server's log-probabilities are no numbers")
    (other,) = set(LABELS) - {written}
    if max(found[other]) > max(found[written]) + ROUNDING:
        return LabelScore(None, f"the reply says '{written}', but '{other}' is likelier there")
    return LabelScore(hate / (hate + normal))


def _token(said: Mapping[str, Any]) -> WrittenToken:
    own = _text(said)
    top = [(_text(other), float(other["logprob"])) for other in said.get("top_logprobs") or ()]
    if own not in dict(top):
        top.append((own, float(said["logprob"])))
    return WrittenToken(own, tuple(top))


def _text(said: Mapping[str, Any]) -> bytes:
    """Return a token's bytes: half a character has no text."""
    content = said.get("bytes")
    return bytes(content) if content is not None else str(said["token"]).encode(errors="replace")


def _token_at(tokens: Sequence[WrittenToken], place: int) -> tuple[WrittenToken, bytes]:
    """Return the token that holds the byte at a place, and its bytes before that one."""
    begin = 0
    for token in tokens:
        if place < begin + len(token.text):
            return token, token.text[: place - begin]
        begin += len(token.text)
    raise AssertionError("a place of the text is in one of its tokens")


def _beginning(token: WrittenToken, head: bytes, label: bytes) -> list[float]:
    """Return the log-probabilities of the tokens that begin a label at a token's place.

    The labels differ in their first letter, so no token begins both.
    """
    whole = head + label + b'"'
    return [
        chance
        for text, chance in token.likely
        if len(text) > len(head) and (whole.startswith(text) or text.startswith(whole))
    ]
