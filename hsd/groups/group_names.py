"""Read the names that data sets give to the people a post is about: `gay men`, `Non-Muslim/Arab`.

Which names are known, and of which group each is, a `Lexicon` is told; the grammar is one.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal

OTHER = "other"
"""Where names count that are of no group that is followed."""

_LGBT = re.compile(r"(2s)?(lgbt|glbt)\w*")
_SAYING_NOTHING = (
    "a an and are as community communities couple couples descent folk folks from group groups "
    "identifying identity in individual individuals is of or origin people person persons the "
    "those who with"
)
_AROUND = frozenset(_SAYING_NOTHING.split())
"""Words that say nothing of who is meant."""
_BEFORE_A_WORD = ("non", "un", "ex", "anti", "pro", "former", "formerly")
"""`non-muslim`, `anti gay`, `exmuslim`: the next word is not who is meant, or that is not known."""
_NEGATIONS = (
    "not no never neither nor none without cannot except excepting exclude excludes excluding "
    "excluded but than besides apart instead unlike minus isnt arent wasnt werent aint cant dont "
    "doesnt didnt wont"
)
_BEFORE_THE_REST = frozenset(_NEGATIONS.split())
"""`not muslim or arab`: nothing after it is who is meant."""
_NOT = re.compile(r"n['’‘ʼ´`＇]t\b")
"""The end of `isn't`, with the apostrophes that people type."""
_NOBODY = re.compile(
    r"|no|false|nil|null|nan|nat|na|n a|none|nothing|nobody|noone|unknown|unspecified|undefined"
    r"|unclear|untargeted|missing|empty"
    r"|none of (the|these|those)( above)?|(nobody|no one|noone)( in particular)?"
    r"|(no|none|without|not)( (a|an|any|clear|identifiable|particular|specific|target))*"
    r" (target|targets|targeted|group|groups|identity|victim|applicable|specified|known|available"
    r"|given|mentioned|named|person|label|answer|one)"
)
"""Of a name's words. Who is meant being unknown is no group either: `other` is a known one."""
_ABBREVIATION = re.compile(r"\b(?:[^\W_]\.)+[^\W_]?(?![^\W_])")
_KEPT = r"\b(?:2s)?(?:lgbt|glbt)\w*\+(?!\w)|\bn/a\b"
_SEPARATOR = re.compile(r"[|;\n]")
"""What no negation reaches beyond: programs write lists so, people no sentences."""
_JOINING = re.compile(rf"({_KEPT})|[,&+/]|\s(?:and|or|and/or)\s", re.IGNORECASE)
_ENUMERATING = re.compile(r"(?<![^\W_])or(?![^\W_])[^,]*\Z", re.IGNORECASE)
"""After the last comma of `non-Hispanic, Latino or Spanish`: its commas join as `or` does."""
_ASIDE = re.compile(r"\([^\w()]*\w+[^\w()]+\w[^()]*\)")
"""`white (not hispanic)`: the negation ends with the brackets; `(not) hispanic` is no such."""
_Reach = Literal["", "list", "word", "rest"]
"""What a negation reaches: nothing; up to a comma, as in `none, gay`; up to a comma that does not
enumerate, as `non-`; or all the rest, as `not`."""
_MOST = 500
_MOST_LETTERS = 10_000
"""Names and letters in a cell. The longest in circulation has some 20 names; 200,000 took hours."""
_LONGEST_SHOWN = 40
"""Characters of a name that are shown: a cell may hold anything."""


class NamesError(ValueError):
    """A cell of names cannot be read: one looks misspelt, or there are thousands."""


@dataclass(frozen=True)
class _Said:
    """What words say of who is meant."""

    groups: tuple[str, ...]
    known: bool
    """Whether each word is known, and none negated."""
    reach: _Reach
    """What a negation in them reaches beyond them."""


class Lexicon:
    """Names that are known, and the group that each is of; `other` for those of no group.

    Names are in any case, in the singular or the plural; what is no letter parts words. The words
    of names that other sets know, `elsewhere`, are never taken for misspelt ones.
    """

    def __init__(
        self, groups: Mapping[str, str], elsewhere: Collection[tuple[str, ...]] = ()
    ) -> None:
        self._spelled = dict(groups) | {f"{name}s": group for name, group in groups.items()}
        self._of_words = {words_of(name): group for name, group in groups.items()}
        for (*first, last), group in list(self._of_words.items()):
            if last.endswith("s"):  # a file may say `immigrants` where the data says `immigrant`
                self._of_words.setdefault((*first, last.removesuffix("s")), group)
        self._longest_name = max(map(len, self._of_words), default=0)
        self._elsewhere = frozenset(elsewhere)
        self._lgbt = groups.get("lgbt")
        self._read = lru_cache(maxsize=4096)(self._read_name)
        self._split = lru_cache(maxsize=4096)(self._split_cell)

    def parse(self, value: Any, *, strict: bool = True) -> tuple[str, ...]:
        """Return the groups for a name, a list of names, or several names in one cell.

        Names are joined by `|`, `;`, `,`, `/`, `&`, `+`, `and` or `or`. Each group once, in the
        order named; nobody is (). A name that nothing is known about, or that says who is not
        meant, is `other`: `unknown` has those. `not` reaches up to the next `|` or `;`, the `non-`
        of `non-muslim/arab` up to the next comma. Raises NamesError for a name that looks like a
        misspelt one of a group, unless `strict` is off, and for thousands of them.
        """
        names = self.split(value)
        groups = (group for name in names for group in self._read(name, strict=strict)[0])
        return tuple(dict.fromkeys(groups))

    def unknown(self, value: Any) -> tuple[str, ...]:
        """Return the names in a cell that count as `other` without being known as such."""
        return tuple(
            dict.fromkeys(
                name for name in self.split(value) if not self._read(name, strict=False)[1]
            )
        )

    def split(self, value: Any) -> list[str]:
        """Return the single names in a cell, without those that mean nobody.

        Raises NamesError for more than any post is about.
        """
        cells: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        letters = sum(len(str(cell)) for cell in cells)
        if len(cells) > _MOST or letters > _MOST_LETTERS:
            raise NamesError(
                f"its groups have {letters:,} letters in {len(cells):,} names; expected at most "
                f"{_MOST_LETTERS:,} in {_MOST}"
            )
        return [name for cell in cells for name in self._split(str(cell))]

    def _split_cell(self, cell: str) -> tuple[str, ...]:
        names = (name.strip() for part in _SEPARATOR.split(cell) for name in self._single(part))
        return tuple(name for name in names if not self._is_nobody(name))

    def _single(self, part: str) -> list[str]:
        """Split `gay and arab`; what a negation reaches is one name: `not gay or arab`."""
        commas_end = ("list",) if _ENUMERATING.search(part) else ("list", "word")
        names: list[str] = []
        reach: _Reach = ""
        for joiner, piece in _pieces(part):
            ended = joiner == "," and reach in commas_end
            if not reach or ended or (reach == "word" and self._begins_negated(piece, names[-1])):
                names.append(piece)
                reach = self._reach(piece)
            elif not (piece.strip() and self._is_nobody(piece)):  # `not gay, n/a`
                names[-1] += joiner + piece
        return names

    def _reach(self, piece: str) -> _Reach:
        """Return how far a piece negates what follows it."""
        reach = self._named_in(self._words(_ASIDE.sub(" ", piece))).reach
        return "list" if reach and self._is_nobody(piece) else reach

    def _begins_negated(self, piece: str, before: str) -> bool:
        """Return whether a piece has its own negation: the one before it does not reach it.

        In `non-muslim and non-binary` the `non` is said again; `anti-muslim/non-binary` is anti
        both.
        """
        words = self._words(piece)
        if not words or not (words[0] in _BEFORE_A_WORD or words[0] in _BEFORE_THE_REST):
            return False
        return not self._longest(words)[1] or words[0] in self._words(before)

    def _is_nobody(self, name: str) -> bool:
        return bool(_NOBODY.fullmatch(" ".join(self._words(name))))

    def _words(self, name: str) -> list[str]:
        """Return a name's words in lower case; what joins them within a negation is `or`."""
        text = _ABBREVIATION.sub(lambda found: found[0].replace(".", ""), name.lower())
        text = _JOINING.sub(lambda found: found[1] or " or ", text)
        text = re.sub(r"(?<=\w)\(\w\)", "", _NOT.sub(" not", text).replace("'s", ""))  # `jew(s)`
        return [part for word in re.findall(r"[^\W_]+", text) for part in self._unglued(word)]

    def _unglued(self, word: str) -> list[str]:
        """Return `non`, `muslim` for `nonmuslim`."""
        if not self._longest([word])[1]:
            for prefix in _BEFORE_A_WORD:
                rest = word.removeprefix(prefix)
                if rest != word and self._longest([rest])[1]:
                    return [prefix, rest]
        return [word]

    def _named_in(self, words: Sequence[str]) -> _Said:
        found: list[str] = []
        reach: _Reach = ""
        known, at = True, 0
        while at < len(words):
            group, length = self._longest(words[at:])
            if words[at] in _BEFORE_THE_REST:
                before = () if at == len(words) - 1 else tuple(found)  # `hispanic: no`
                return _Said(before, False, "rest")
            if reach and words[at] in ("and", "or"):
                return _Said(tuple(found), False, reach)  # `non-muslim or arab`
            if length:
                found.append(group)
                reach = ""  # `non-white latinos or arabs`
            elif words[at] in _BEFORE_A_WORD:
                length = 1 + max(self._longest(words[at + 1 :])[1], 1)
                reach = "word"
            known = known and not reach and (bool(length) or words[at] in _AROUND)
            at += max(length, 1)
        return _Said(tuple(found), known and bool(found), reach)

    def _read_name(self, name: str, *, strict: bool) -> tuple[tuple[str, ...], bool]:
        """Return the groups that a name means, and whether all of it is known."""
        words = self._words(name)
        said = self._named_in(words)
        if ours := [group for group in said.groups if group != OTHER]:
            return tuple(dict.fromkeys(ours)), True  # `gay men`: about the group that we follow
        if strict and not said.known:
            self._require_not_misspelt(name, words)
        return (OTHER,), said.known

    def _longest(self, words: Sequence[str]) -> tuple[str, int]:
        """Return the group and length of the longest name that words begin with; "", 0 without."""
        for length in range(min(self._longest_name, len(words)), 0, -1):
            *first, last = words[:length]
            for word in (last, last.removesuffix("s")):
                if group := self._of_words.get((*first, word)):
                    return group, length
        if self._lgbt and words and _LGBT.fullmatch(words[0]):
            return self._lgbt, 1
        return "", 0

    def _require_not_misspelt(self, name: str, words: Sequence[str]) -> None:
        said = "_".join(word for word in words if word not in _AROUND)
        if said.startswith(_BEFORE_A_WORD) or not _BEFORE_THE_REST.isdisjoint(words):
            return  # `nonmuslim` is near `muslim`, and the opposite
        if _singular(words) in self._elsewhere:
            return
        close = get_close_matches(said, self._spelled, n=1, cutoff=0.85)
        if close and self._spelled[close[0]] != OTHER:
            raise NamesError(f"unknown group {name[:_LONGEST_SHOWN]!r}. Did you mean '{close[0]}'?")


def _singular(words: Sequence[str]) -> tuple[str, ...]:
    kept = [word for word in words if word not in _AROUND]
    return (*kept[:-1], *(word.removesuffix("s") for word in kept[-1:]))


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in a group file, as a cell's are read: `LGBTQ+` is `lgbtq`."""
    return tuple(re.findall(r"[^\W_]+", name.lower()))


def _pieces(part: str) -> Iterator[tuple[str, str]]:
    """Give each piece after what joins it to the one before; `lgbtq+` and `n/a` stay whole."""
    joiner, start = "", 0
    for found in _JOINING.finditer(part):
        if not found[1]:
            yield joiner, part[start : found.start()]
            joiner, start = found[0], found.end()
    yield joiner, part[start:]
