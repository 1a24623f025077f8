"""How a file was read, where its name does not tell: encoding, delimiter, the files of a folder."""

from collections import Counter
from pathlib import Path

from hsd.data.data_files import format_of, is_saved, opened, table_text
from hsd.data.delimiters import delimiter_of, delimiter_told
from hsd.data.encodings import UTF_8, WESTERN, marked_encoding
from hsd.data.parquet_folder import parquet_files

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SHOWN = 12
"""Letters of another encoding that are shown, the most frequent first."""


def how_read(path: Path) -> list[str]:
    """Return what was detected, a sentence at most; nothing of a file that is what it is called."""
    if not path.is_file():
        return _folder_said(path)
    kind = format_of(path)
    if kind in ("parquet", "arrow"):
        return []
    if kind not in ("csv", "tsv"):
        with opened(path) as file:
            encoding = marked_encoding(file.read(4))
        return [f"{path}: read as {encoding}."] if encoding else []
    text, encoding = table_text(path)
    expected = delimiter_told(kind)
    delimiter = delimiter_of(text, expected)
    found = [f"read as {encoding}{_letters(text, encoding)}"] if encoding != UTF_8 else []
    if delimiter != expected:
        found.append(f"cells are separated by {_DELIMITERS.get(delimiter, repr(delimiter))}")
    return [f"{path}: {'; '.join(found)}."] if found else []


def _letters(text: str, encoding: str) -> str:
    """Return the letters that show whether an encoding that no mark tells is the right one."""
    if encoding != WESTERN:
        return ""
    counts = Counter(letter for letter in text if not letter.isascii())
    shown = " ".join(letter for letter, _ in counts.most_common(_SHOWN))
    return f" (with the letters {shown}; if they look wrong, save the file as UTF-8)"


def _folder_said(path: Path) -> list[str]:
    splits = {} if is_saved(path) else parquet_files(path)
    count = sum(map(len, splits.values()))
    if count < 2:
        return []
    named = ", ".join(f"{len(files)} of {split}" for split, files in splits.items() if split)
    return [f"{path}: {count} Parquet files are read{f' ({named})' if named else ''}."]
