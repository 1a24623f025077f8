"""The names that data sets give to hate and normal."""

import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

from hsd.data.class_names import ClassName, LostCode
from hsd.example import LABELS, Label

_HATE = ("hate", "hateful", "hatespeech", "hs", "toxic")
NAMES: dict[str, Label] = {
    **dict.fromkeys((*_HATE, "implicithate", "explicithate", "1", "true", "yes"), "hate"),
    **{f"{no}{name}": "normal" for no in ("no", "not", "non") for name in _HATE},
    **dict.fromkeys(("normal", "benign", "neutral", "neither", "0", "false", "no"), "normal"),
}
"""Label names as `spelled` gives them. `offensive` is not among them: whether it counts as hate is
a decision, not a spelling; nor is -1, which is a class in one data set and `no label` in another.
"""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)?\.[0-9]+|-?[0-9.]+e-?[0-9]+")
"""A number that is no code of a class."""
_PARTS = re.compile(r"\s*[,;|/]\s*|\s+")
_YES = {"0": "1", "false": "true", "no": "yes"}
_FLAGS = frozenset({*_YES, *_YES.values()})
SHOWN_LABELS = 12
"""Labels that a message counts, the most frequent first."""
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])")

_BESIDE_A_NAME = (
    "(?:(?:predicted|prediction|pred|probability|proba|prob|p|scores?|logit|of|is|label)_?)*"
)
"""What a column's name says beside the label that its values are of."""
_HARM = (
    "hate|hateful|hatespeech|toxic|toxicity|offensive|offense|abusive|abuse|harmful|harm|violent|"
    "insulting|insult|profane|obscene|aggressive|hostile|racist|sexist|problematic|hs"
)
_SOUND = (
    "safe|safety|clean|acceptable|appropriate|allowed|approved|ok|okay|fine|civil|civility|polite|"
    "respectful|friendly|harmless|innocuous|inoffensive|unproblematic"
)
"""What else a column may be called after where 1 says normal. hsd reads no label from these."""
_DENYING = "|".join(
    name
    for name, label in NAMES.items()
    if label == "normal" and name.isalpha() and name not in _FLAGS
)
_DENYING += f"|{_SOUND}|(?:not?|non)_?(?:{_HARM})|(?:{_HARM})_?free"
_DENIES = re.compile(f"{_BESIDE_A_NAME}(?:{_DENYING})_?{_BESIDE_A_NAME}")
_NEGATES = re.compile(f"{_BESIDE_A_NAME}(?:(?:not|non)_(?!(?:{_DENYING})(?:_|$))|.+_free$)")
"""`not_rude` and `spam_free`, but not `not_safe`: there 1 is hate. The underscores are needed."""

_Meaning = TypeVar("_Meaning", bound=str)


def parse_label(value: Any, names: Mapping[str, _Meaning] | None = None) -> Label | _Meaning | None:
    """Return the label a cell stands for, None when it is not known.

    `names` is a person's own map. It is the whole map: what it does not name is unknown, or a 0
    that is hate in their table would be read as normal because they named the 2 alone.
    """
    if isinstance(value, LostCode) and not names:
        return None
    if names:
        return {spelled(name): label for name, label in names.items()}.get(spelled(value))
    return NAMES.get(spelled(value))


def spelled(value: Any) -> str:
    """Return a label's name in the one spelling that names are compared in.

    Case, and white space, hyphens and underscores between letters, make no other name; nor does how
    a number is written (1, 1.0 and "1.00" are one). Everything else does: signs above all.
    """
    return _spelled(str(value))


@lru_cache(maxsize=4096)
def _spelled(value: str) -> str:
    text = value.strip().lower()
    if text.startswith("\N{MINUS SIGN}"):
        text = f"-{text[1:]}"
    if _NUMBER.fullmatch(text):
        return f"{Decimal(text).normalize():f}"
    return _BETWEEN_LETTERS.sub("", text)


class UnknownLabel(str):
    """Why a row has no known label; messages count such rows by `value`.

    `what` names it where it is something else than a label.
    """

    __slots__ = ("advice", "value", "what", "where")
    value: str
    where: str
    advice: str
    what: str

    def __new__(
        cls, value: str, where: str, advice: str, what: str = "unknown label"
    ) -> "UnknownLabel":
        """Return the reason of one row: which label, in which column, and what would help."""
        made = super().__new__(cls, f"{what} {value} in {where}: {advice}")
        made.value, made.where, made.advice, made.what = value, where, advice, what
        return made

    def counted(self, counts: Mapping[str, int]) -> str:
        """Return the reason of all rows with such a label, each with its number of rows."""
        if len(counts) == 1:
            return str(self)
        prose = sum(len(value) > SHOWN_LABELS and value.count(" ") > 2 for value in counts)
        if len(counts) > SHOWN_LABELS and 2 * prose > len(counts):  # no message quotes posts
            return f"{len(counts)} different texts in {self.where}: is this the column of the post?"
        shown = list(counts.items())[:SHOWN_LABELS]
        listed = ", ".join(f"{value} ({n} row{'' if n == 1 else 's'})" for value, n in shown)
        more = f" and {len(counts) - SHOWN_LABELS} others" if len(counts) > SHOWN_LABELS else ""
        return f"{self.what}s in {self.where}: {listed}{more}: {self.advice}"


def no_label(column: str) -> str:
    """Return the reason of a row whose label is blank."""
    return f"no label in '{column}'"


def is_blank(value: Any) -> bool:
    """Return whether a cell holds no label; pandas writes NaN there."""
    return value is None or value != value or str(value).strip() == ""


def unknown_label(
    value: Any, column: str, names: Mapping[str, Any] | None = None, columns: str = ""
) -> str:
    """Return the reason for a row whose label is absent or unknown, and what would make it known.

    `names` is the map that did not name it; `columns` are options that must go with a map.
    """
    if is_blank(value):
        return no_label(column)
    where = f"'{column}'"
    if isinstance(value, ClassName):
        where += f" (the file names its classes {', '.join(value.others)})"
    if isinstance(value, LostCode):
        where += f" (the file names classes of a column '{value.column}' that it lacks: "
        where += f"{', '.join(value.others)})"
    return UnknownLabel(repr(str(value)[:40]), where, _advice(value, column, names) + columns)


def denies_hate(column: str) -> bool:
    """Return whether a column is called after what is normal, so that 1 says normal in it."""
    joined, parted = (
        re.sub(r"[\W_]+", "_", name).strip("_") for name in (spelled(column), column.lower())
    )
    return bool(_DENIES.fullmatch(joined) or _NEGATES.match(parted))


def is_flag(value: Any) -> bool:
    """Return whether a label is a bare yes or no, which hangs on the column's name."""
    return spelled(value) in _FLAGS


def _advice(value: Any, column: str, names: Mapping[str, Any] | None) -> str:
    if names:
        return (
            "not named in --labels; name every label in use there, such as --labels hate=NAME,NAME "
            "normal=NAME drop=NAME"
        )
    if is_flag(value) and denies_hate(column):
        yes = spelled(value) if spelled(value) in ("1", "true", "yes") else _YES[spelled(value)]
        no = next(no for no, other in _YES.items() if other == yes)
        return f"1 may mean normal here; say which, such as --labels hate={no} normal={yes}"
    if _FRACTION.fullmatch(spelled(value)):
        return "if labels are scores, say from which on a post is hate, such as --cut 0.5"
    if _NUMBER.fullmatch(spelled(value)):
        return (
            "say what every code in use means, such as --labels hate=1,2 normal=0 drop=-1; or, if "
            "labels are scores, from which on a post is hate, such as --cut 2"
        )
    if str(value).startswith("["):
        return f"for the labels of several annotators name the column: --label-column {column}"
    parts = _PARTS.split(str(value))
    if len(parts) > 1 and all(parse_label(part) for part in parts):
        return 'if they are several annotators\' labels, write a list, such as ["hate", "normal"]'
    near = get_close_matches(str(value), LABELS, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return (
        f"say what every label in use means{hint}, such as --labels hate=abusive,hateful "
        "normal=fine drop=unclear"
    )
