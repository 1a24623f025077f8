"""The names that data sets give to hate and normal."""

from collections.abc import Mapping
from typing import Any

from hsd.data.example import LABELS, Label
from hsd.errors import did_you_mean

_HATE = "hate hateful hatespeech hs toxic 1 true yes implicithate explicithate"
_NORMAL = (
    "normal nothate nothateful nonhate nonhateful nothatespeech nontoxic nottoxic benign neutral "
    "neither 0 false no"
)
NAMES: dict[str, Label] = {
    **dict.fromkeys(_HATE.split(), "hate"),
    **dict.fromkeys(_NORMAL.split(), "normal"),
}
"""Label names without case, spaces, hyphens and underscores. `offensive` is not among them:
whether it counts as hate is a decision, not a spelling."""


def parse_label(value: Any, names: Mapping[str, Label] | None = None) -> Label | None:
    """Return the label a cell stands for, None when it is not known.

    `names` maps a data set's own names, compared in the same way, before the common ones.
    """
    known = NAMES if names is None else NAMES | {_plain(name): v for name, v in names.items()}
    return known.get(_plain(value))


def unknown_label(value: Any, column: str) -> str:
    """Return the reason for a row whose label is absent or unknown."""
    if value is None or value == "":
        return f"no label in '{column}'"
    return f"unknown label {str(value)[:40]!r} in '{column}'.{did_you_mean(str(value), LABELS)}"


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().lower()
    text = text.removesuffix(".0") if text in {"0.0", "1.0"} else text
    return text.replace(" ", "").replace("-", "").replace("_", "")
