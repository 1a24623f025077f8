"""Posts with the group they name swapped for another: the label stays, so should the answer.

A post qualifies when it names one group only, in the words that the groups' file has for swaps.
What a swap makes may read oddly or even change what is true, so a flip is a question to look at,
not a proof.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from hsd.counted import counted
from hsd.data.duplicates import normalise
from hsd.errors import DataError
from hsd.example import Example
from hsd.groups.group_names import OTHER
from hsd.groups.group_set import GroupSet, default_groups

SWAP = "identity_swap"
"""Functionality of a swapped row."""
VERSION = 2
"""Of the default groups' words, which belongs to every result."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word for a group, and its grammatical form."""

    word: str
    form: str
    group: str


class SwapTerms:
    """The words of a set of groups, by grammatical form: what `swaps` exchanges."""

    def __init__(self, groups: GroupSet) -> None:
        file = groups.file
        words = {name: entry.swaps for name, entry in file.groups.items() if entry.swaps}
        self._words: Mapping[str, Mapping[str, tuple[str, ...]]] = {
            **words,
            **({OTHER: file.other_swaps} if file.other_swaps else {}),
        }
        found = [
            Term(word.lower(), form, group)
            for group, forms in self._words.items()
            for form, listed in forms.items()
            for word in listed
        ]
        self.terms = tuple(sorted(found, key=lambda term: (-len(term.word), term.word)))
        """Longer words first."""
        self._by_word = {term.word: term for term in self.terms}
        self._pattern = _pattern(self._by_word)

    def lonely_forms(self) -> list[str]:
        """Return the grammatical forms that only one group has words of."""
        forms = [form for words in self._words.values() for form in words]
        return sorted(form for form in set(forms) if forms.count(form) == 1)

    def named(self, text: str) -> list[Term]:
        """Return the terms in a text, in its order."""
        return [self._by_word[m["word"].lower()] for m in self._pattern.finditer(text)]

    def others(self, found: Iterable[Term]) -> list[str]:
        """Return the groups that have a word of the form of each term, but not the terms' own."""
        forms, own = {term.form for term in found}, {term.group for term in found}
        return sorted(
            name for name, words in self._words.items() if name not in own and forms <= words.keys()
        )

    def swapped(self, text: str, group: str) -> str:
        """Return the text with every term replaced by the first one of its form for `group`.

        `a` or `an` right before a term follows the new word.
        """

        def other(match: re.Match[str]) -> str:
            word = match["word"]
            new = self._words[group][self._by_word[word.lower()].form][0]
            article = match["article"]
            before = _article(article, word, new) + match["space"] if article else ""
            return before + _cased(new, word)

        return self._pattern.sub(other, text)


def swaps(examples: Iterable[Example], groups: GroupSet | None = None) -> Iterator[Example]:
    """Yield each post that qualifies, followed by itself with every other group swapped in.

    All rows of one post share a cluster, its own where it has one (a thread, a template); a swapped
    one refers to it by `reference_id`. Raises DataError where fewer than two groups have words for
    swaps.
    """
    follow = groups or default_groups()
    terms = SwapTerms(follow)
    if lonely := terms.lonely_forms():
        raise DataError(
            f"groups '{follow.name}': only one group has words of the form '{lonely[0]}', so there "
            "is nothing to swap them for; give other groups words of the same form."
        )
    if len({term.group for term in terms.terms}) < 2:
        raise DataError(
            f"groups '{follow.name}': fewer than two groups have words for swaps; add "
            '`swaps.adjective = ["..."]` to a group (`hsd groups show three --toml` has some).'
        )
    for example in examples:
        found = terms.named(example.text)
        own = {term.group for term in found}
        if len(own) != 1:
            continue
        (name,) = own
        shared = example.cluster or example.id
        yield replace(
            example,
            named=(name,),
            groups=follow.groups_of([name]),
            cluster=shared,
            functionality="",
            reference_id="",
        )
        for group in terms.others(found):
            yield replace(
                example,
                id=f"{example.id}~{group}",
                text=terms.swapped(example.text, group),
                rationale=_reason(terms, example.rationale, name, group),
                hate_share=None,  # nobody voted on these words
                named=(group,),
                groups=follow.groups_of([group]),
                persona_tag=group,
                functionality=SWAP,
                is_synthetic=True,
                reference_id=example.id,
                cluster=shared,
            )


def augmented(
    examples: Iterable[Example], copies: int, seed: int = 42, groups: GroupSet | None = None
) -> list[Example]:
    """Return every post, each that qualifies followed by `copies` of its swaps, drawn by `seed`.

    What is drawn for a post does not depend on the others. Raises what `swaps` raises, and
    DataError where there are swaps already.
    """
    every = list(examples)
    made: dict[str, list[Example]] = {}
    if already := sum(example.functionality == SWAP for example in every):
        verb = "is" if already == 1 else "are"
        raise DataError(
            f"{counted(already, 'swap')} of groups {verb} among these posts already; "
            "give the file that the swaps were made from."
        )
    for row in swaps(every, groups):
        if row.functionality == SWAP:
            made.setdefault(row.reference_id, []).append(row)
    found = []
    for example in every:
        others = made.get(example.id, [])
        drawn = Random(f"{seed} {example.id}").sample(others, min(copies, len(others)))
        found += [example, *drawn]
    return found


def _reason(terms: SwapTerms, reason: str, own: str, group: str) -> str:
    """Return a rationale about the new group; none where it names others beside the post's own."""
    named = {term.group for term in terms.named(reason)}
    return terms.swapped(reason, group) if named <= {own} else ""


def without_doubles(rows: Sequence[Example]) -> list[Example]:
    """Return the rows without each copy that says what a post or an earlier copy says.

    A group's first word swapped back in may be a post that is there, with another label.
    """
    said = {normalise(row.text) for row in rows if row.functionality != SWAP}
    found = []
    for row in rows:
        text = normalise(row.text)
        if row.functionality != SWAP or text not in said:
            found.append(row)
            said.add(text)
    return found


def most_copies(rows: Iterable[Example]) -> int:
    """Return how many copies the post has that has most."""
    counts = Counter(row.reference_id for row in rows if row.functionality == SWAP)
    return max(counts.values(), default=0)


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


def _article(article: str, word: str, new: str) -> str:
    fitting = "an" if new[0] in "aeiou" else "a"  # by letter: no term of the list sounds otherwise
    if article[0].islower():
        return fitting
    return fitting.upper() if word.isupper() else fitting.capitalize()


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    listed = "|".join(re.escape(word) for word in words) or r"(?!)"
    # `(?ai:`: else `İ` and the long s match too, and what they spell stands in no list.
    article = r"(?:(?P<article>[Aa][Nn]?)(?P<space>\s+))?"
    return re.compile(rf"\b{article}\b(?P<word>(?ai:{listed}))\b")
