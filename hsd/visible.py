"""Text that others wrote, without the characters that act or hide where it is shown.

As JSON spells them, `\\u001b`: so JSON that is shown reads back to the same.
"""

import json
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's kinds of characters that draw nothing: controls, marks of direction and of no width,
halves of characters, separators of lines."""


def visible(text: str, lines: bool = False) -> str:
    """Return text without a character that acts or hides; a tab stays, with `lines` a line feed."""
    if text.isprintable():
        return text
    kept = "\t\n" if lines else "\t"
    return "".join(c if c in kept or _is_seen(c) else json.dumps(c)[1:-1] for c in text)


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN
