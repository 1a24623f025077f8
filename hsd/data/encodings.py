"""Which encoding a text is in: UTF-8, what its byte-order mark says, or Windows-1252."""

import codecs
import re

UTF_8, WESTERN = "UTF-8", "Windows-1252"
_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
_INSIDE_A_WORD = re.compile(r"(?<=[^\W\d_])[\x80-\xac\xae-\xb6\xb8-\xbf](?=[^\W\d_])")
"""A sign where a letter should be: so looks Polish, Greek or broken text in Windows-1252. The soft
hyphen and the dot of Catalan do stand there."""
_ACCENTS_ALONE = re.compile(r"(?:(?![\x00-\x7f])[^\W\d_]){3}")
"""Letters beyond ASCII in a row that no Western European word has."""
_FOREIGN = re.compile(r"[^\x00-\x7f]{6}")
"""So many characters beyond ASCII in a row: French quotes around one letter are five."""
_SPELLED_IN_UTF_8 = re.compile(rb"\xc3[\x80-\xbf]|\xc2[\xa0-\xbf]|\xe2\x80[\x90-\xa6]")
"""Accents, signs and quotes as UTF-8 spells them; other pairs may be a letter and a quote."""


def marked_encoding(head: bytes) -> str | None:
    """Return the encoding that a text's first bytes tell, None where they tell none."""
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def is_western(data: bytes) -> bool:
    """Return whether a text that is not UTF-8 reads as Windows-1252, as Excel on Windows writes.

    It does not where some of it is UTF-8 (then it is damaged), nor where it reads as signs within
    words or as words of accents alone (then it is of another language's encoding).
    """
    try:
        data.decode("utf-8")
        return False
    except UnicodeDecodeError:
        pass
    if _SPELLED_IN_UTF_8.search(data):
        return False
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return not any(sign.search(text) for sign in (_INSIDE_A_WORD, _ACCENTS_ALONE, _FOREIGN))
