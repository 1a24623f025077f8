"""The names that data sets give to hate and normal."""

import re
import shlex
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from hsd.data.class_names import ClassName, LostCode
from hsd.errors import did_you_mean
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
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])")


def parse_label(value: Any, names: Mapping[str, Label] | None = None) -> Label | None:
    """Return the label a cell stands for, None when it is not known.

    `names` is a person's own map. It is the whole map: what it does not name is unknown, or a 0
    that is hate in their table would be read as normal because they named the 2 alone.
    """
    if isinstance(value, LostCode) and not names:
        return None
    known = {spelled(name): label for name, label in names.items()} if names else NAMES
    return known.get(spelled(value))


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


def unknown_label(value: Any, column: str, names: Mapping[str, Label] | None = None) -> str:
    """Return the reason for a row whose label is absent or unknown, and what would make it known.

    `names` is the map that did not name it.
    """
    if value is None or value != value or str(value).strip() == "":
        return f"no label in '{column}'"
    shown = str(value)[:40]
    ways = " or ".join(f"--label {shlex.quote(f'{shown}={label}')}" for label in LABELS)
    said = f"unknown label {shown!r} in '{column}'"
    if isinstance(value, ClassName):
        said += f" (the file names its classes {', '.join(value.others)})"
    if isinstance(value, LostCode):
        said += f" (the file names classes of a column '{value.column}' that it lacks: "
        said += f"{', '.join(value.others)})"
    if names:
        return f"{said}: other labels were named, but not this one (add {ways})"
    where = "" if column == "label" else f" --label-column {shlex.quote(column)}"
    return (
        f"{said}.{did_you_mean(str(value), LABELS)} Say what every label of the file means, the "
        f"known ones too: read the file with `hsd prepare --source table:PATH{where}` and {ways}. "
        "If a column says who a post is about, add --group-column NAME"
    )
