"""Which encoding a text is in: UTF-8, what its byte-order mark says, or Windows-1252."""

import codecs
import re

UTF_8, WESTERN = "UTF-8", "Windows-1252"
_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
_WORD = re.compile(r"[^\W\d_]+")
_INSIDE_A_WORD = re.compile(r"(?<=[^\W\d_])[\x80-\xbf](?=[^\W\d_])")
"""A sign where a letter should be: so looks Polish, Greek or broken text in Windows-1252."""
_FOREIGN = 3
"""Letters beyond ASCII in a row that no Western European word has."""
_UTF_8_LETTER = re.compile(rb"[\xc3-\xf4][\x80-\xbf]+")


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
    if _has_utf_8(data):
        return False
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    words = (word for word in _WORD.findall(text) if not word.isascii())
    return not _INSIDE_A_WORD.search(text) and not any(map(_is_foreign, words))


def _has_utf_8(data: bytes) -> bool:
    """Return whether letters are spelled in UTF-8: in Windows-1252 they would be `\xc3\xa9`."""
    for found in _UTF_8_LETTER.finditer(data):
        try:
            found[0].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def _is_foreign(word: str) -> bool:
    return bool(re.search(rf"[^\x00-\x7f]{{{_FOREIGN}}}", word))
