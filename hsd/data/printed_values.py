"""Reads lists and dicts as programs print them into one cell: JSON, Python, numpy, pandas.

Nothing is evaluated. `['a' 'b']` is two names, as numpy prints an array, not Python's one string.
"""

import ast
import json
import re
import warnings
from typing import Any

from hsd.data.json_rows import HALF

_ARRAY = re.compile(r"<\w*Array\w*>\s*(\[.*\])\s*Length: \d+, dtype: \S+", re.DOTALL)
"""How pandas prints its own arrays."""
_CALLED = re.compile(
    r"(?:\w+\.)*(?:array|list|tuple|set|frozenset|Index|str_|bool_?|u?int\d+|float\d+)"
)
"""What stands before a bracket without changing what is in it: array([..]), np.str_('a')."""
_OTHER_CALLS = (
    r"(?:\w+\.)*(?:dict|deque|defaultdict|OrderedDict|Counter|Series|tensor|range|bytearray"
    r"|c|List|Array|WrappedArray|Set|Seq|Vector|Map)"
)
"""What Python, R and Spark print and hsd does not read."""
_OPENS = re.compile(
    rf"(?:{_CALLED.pattern}|{_OTHER_CALLS})\((?:[\[({{'\")]|.*\)$)|[A-Za-z_][\w.]*\(\s*[\[{{]",
    re.DOTALL,
)
"""How a container begins: `set(`, or any call of a bracket. `Muslim(s)` and `LGBT(Q)` are names."""
_ASIDE = re.compile(r"""\([^][(){},'"]*\)\s*\S""")
"""How a name may begin: `(North) African (all)`."""
_BEGINS = re.compile(r"(?:<\w+>\s*|[\w.]+\()?(?:[\[({]\s*)*[\[{]\s*(?:[\w.]+\(|[bu])?['\"]")
"""How a list or dict of words begins, whole or cut short; no text that a person wrote."""
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>[bu]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<call>[A-Za-z_][\w.]*)\(
      | (?P<word>[A-Za-z_]\w*|<NA>)
      | (?P<mark>[][(){},:=])
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    **dict.fromkeys(("None", "null", "nan", "NaN", "NaT", "NA", "<NA>")),
}
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_DEEPEST = 16


def is_bracketed(text: str) -> bool:
    """Return whether a cell looks like a printed list or dict, or like a part of one."""
    cell = text.strip()
    if not cell:
        return False
    if cell[0] in "[{" or cell[-1] in "]}":
        return True
    ends = cell[0] == "(" and cell[-1] == ")" and not _ASIDE.match(cell)
    is_called = _OPENS.match(cell) or _ARRAY.fullmatch(cell)
    return ends or bool(is_called) or begins_words(cell)


def begins_words(text: str) -> bool:
    """Return whether a cell begins as printed words do: `['a`, `array(["a`, `{'a`."""
    return bool(_BEGINS.match(text.strip()))


def parse(text: str) -> Any:
    """Return the lists, dicts, strings, numbers and None that a cell holds.

    Raises ValueError when it is not whole, or is none of the forms.
    """
    value = _parsed(text.strip())
    if HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # half a character is a ValueError here
    return value


def _parsed(cell: str) -> Any:
    if cell[:1] in ("[", "{") and cell[1:2] != "'":
        try:
            return json.loads(cell, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            pass  # as Python or numpy would print it, then
    found = _ARRAY.fullmatch(cell)
    return _Printed(found[1] if found else cell).whole()


class _Printed:
    """A position in a printed value; each method reads on from it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> Any:
        value = self._value(0)
        if self._text[self._at :].strip():
            raise ValueError("more follows")
        return value

    def _next(self) -> tuple[str, str]:
        """Return the kind and the text of the next token, and step over it."""
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            raise ValueError("no value")
        self._at = token.end()
        kind = str(token.lastgroup)
        return kind, token[kind]

    def _is_at(self, mark: str) -> bool:
        """Step over a mark, if it comes next."""
        token = _TOKEN.match(self._text, self._at)
        if token is None or token["mark"] != mark:
            return False
        self._at = token.end()
        return True

    def _value(self, depth: int) -> Any:
        kind, token = self._next()
        if depth > _DEEPEST:
            raise ValueError("too deep")
        if kind == "string":
            return _string(token)
        if kind == "number":
            return float(token) if re.search("[.eE]", token) else int(token)
        if kind == "call":
            return self._called(token, depth)
        if kind == "word" and token in _WORDS:
            return _WORDS[token]
        if token in _CLOSING:
            return self._inside(_CLOSING[token], depth)
        raise ValueError("no value")

    def _called(self, name: str, depth: int) -> Any:
        if not _CALLED.fullmatch(name):
            raise ValueError("no list")
        if self._is_at(")"):
            return []
        value = self._value(depth + 1)
        while not self._is_at(")"):  # array(..., shape=(0, 3), dtype=object)
            if not self._is_at(",") or self._next()[0] != "word" or not self._is_at("="):
                raise ValueError("no list")
            if self._next()[1] == "(":
                self._inside(")", depth + 1)
        return value

    def _inside(self, closing: str, depth: int) -> Any:
        """Return the items up to a bracket: all parted by commas, or in `[]` all by white space."""
        items: list[Any] = []
        keys: list[Any] = []
        parted: set[str] = set()
        while not self._is_at(closing):
            if items and (parting := self._parting(closing)) is None:
                break
            if items:
                parted.add(str(parting))
            items.append(self._value(depth + 1))
            if closing == "}" and self._is_at(":"):
                keys.append(items.pop())
                items.append(self._value(depth + 1))
        if len(parted) > 1 or len(keys) not in (0, len(items)):
            raise ValueError("no list")
        return dict(zip(keys, items, strict=True)) if keys else items

    def _parting(self, closing: str) -> str | None:
        """Return what parts two items; None where the bracket comes after a last comma."""
        if self._is_at(","):
            return None if self._is_at(closing) else ","
        if closing == "]" and self._text[self._at : self._at + 1].isspace():
            return " "
        raise ValueError("no list")


def _string(token: str) -> str:
    """Return the text of a literal; bytes are UTF-8."""
    if "\\" not in token and token[0] in "'\"":
        return token[1:-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an unknown escape: no program printed that
        try:
            value = ast.literal_eval(token)
        except SyntaxError:
            raise ValueError("no string") from None
    return value.decode() if isinstance(value, bytes) else str(value)
