"""Which delimiter separates the cells of a CSV or TSV file."""

import csv
import re
from io import StringIO

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?(?:\r?\n|$)', re.IGNORECASE)
"""What Excel writes, and reads, before the header."""


def delimiter_told(kind: str) -> str:
    """Return the delimiter that a file's name tells."""
    return "\t" if kind == "tsv" else ","


def delimiter_of(text: str, expected: str) -> str:
    """Return what an Excel line says, or what parts the header into most cells.

    What is expected wins a tie.
    """
    if said := SEPARATOR_LINE.match(text):
        return said[1]
    header = next(StringIO(text, newline=""))
    candidates = dict.fromkeys((expected, ",", ";", "\t", "|"))
    return max(candidates, key=lambda one: len(next(csv.reader([header], delimiter=one))))
