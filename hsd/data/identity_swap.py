"""Posts with the group they name swapped for another: the label stays, so should the answer.

A post qualifies when it names one group only, in words of `identity_terms.json`. What a swap makes
may read oddly or even change what is true, so a flip is a question to look at, not a proof.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from hsd.example import Example

SWAP = "identity_swap"
"""Functionality of a swapped row."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word for a group, and its grammatical form."""

    word: str
    form: str
    group: str


@cache
def terms() -> tuple[Term, ...]:
    """Return the versioned list, longer words first."""
    listed = _listed()["forms"]
    found = [
        Term(word, form, group)
        for form, groups in listed.items()
        for group, words in groups.items()
        for word in words
    ]
    return tuple(sorted(found, key=lambda term: (-len(term.word), term.word)))


def version() -> int:
    """Return the version of the term list, which belongs to every result."""
    return int(_listed()["version"])


def swaps(examples: Iterable[Example]) -> Iterator[Example]:
    """Yield each post that qualifies, followed by itself with every other group swapped in.

    All rows of one post share a cluster; a swapped one refers to it by `reference_id`.
    """
    for example in examples:
        found = named(example.text)
        groups = {term.group for term in found}
        if len(groups) != 1:
            continue
        (own,) = groups
        yield replace(example, groups=(own,), cluster=example.id, functionality="", reference_id="")
        for group in sorted({term.group for term in terms()} - groups):
            yield replace(
                example,
                id=f"{example.id}~{group}",
                text=swapped(example.text, group),
                hate_share=None,  # nobody voted on these words
                groups=(group,),
                persona_tag=group,
                functionality=SWAP,
                reference_id=example.id,
                cluster=example.id,
            )


def named(text: str) -> list[Term]:
    """Return the terms in a text, in its order."""
    return [_by_word()[match["word"].lower()] for match in _pattern().finditer(text)]


def swapped(text: str, group: str) -> str:
    """Return the text with every term replaced by the first one of its form for `group`.

    `a` or `an` right before a term follows the new word.
    """

    def other(match: re.Match[str]) -> str:
        word = match["word"]
        new = _first(_by_word()[word.lower()].form, group)
        before = _article(match["article"], word, new) + match["space"] if match["article"] else ""
        return before + _cased(new, word)

    return _pattern().sub(other, text)


def _first(form: str, group: str) -> str:
    return str(_listed()["forms"][form][group][0])


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


def _article(article: str, word: str, new: str) -> str:
    fitting = "an" if new[0] in "aeiou" else "a"  # by letter: no term of the list sounds otherwise
    if article[0].islower():
        return fitting
    return fitting.upper() if word.isupper() else fitting.capitalize()


@cache
def _by_word() -> dict[str, Term]:
    return {term.word: term for term in terms()}


@cache
def _pattern() -> re.Pattern[str]:
    words = "|".join(re.escape(term.word) for term in terms())
    # `(?ai:`: else `İ` and the long s match too, and what they spell stands in no list.
    article = r"(?:(?P<article>[Aa][Nn]?)(?P<space>\s+))?"
    return re.compile(rf"\b{article}\b(?P<word>(?ai:{words}))\b")


@cache
def _listed() -> dict[str, Any]:
    text = files("hsd.data").joinpath("identity_terms.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]
