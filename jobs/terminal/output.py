"""The one way to a terminal: what hsd prints goes through here.

Ids, columns, groups, paths and a template's own errors are written by others. A control character
in one could clear the screen, hide what follows or write "All checks passed" in its place, so each
is shown as JSON spells it: `\\u001b`. JSON that is printed so reads back to the same.
"""

import logging
import re
import sys
from io import TextIOWrapper
from typing import TextIO

import click

from hsd.secrets import hidden
from hsd.visible import visible

_LONGEST = 400
"""Letters of one word that are shown. The longest path that hsd makes has about 250."""
_KEPT = 120
_WORD = re.compile(rf"\S{{{_LONGEST + 1},}}")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def brief(text: str) -> str:
    """Return a line with words of thousands of letters, such as an id may be, cut short."""
    return _WORD.sub(lambda word: f"{word[0][:_KEPT]}... ({len(word[0]):,} letters)", text)


def echo(*lines: str, err: bool = False) -> None:
    """Print each text as one line, without the secrets in it."""
    for line in lines:
        click.echo(brief(visible(hidden(line))), err=err)


def echo_text(text: str, nl: bool = True, err: bool = False) -> None:
    """Print a text of several lines whole: a script, JSON, a log. Colours are left out."""
    plain = _COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    click.echo(visible(plain, lines=True), nl=nl, err=err)


def data_stream() -> TextIO:
    """Return standard output for data that a program reads: as it is, and in UTF-8."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


class VisibleFormatter(logging.Formatter):
    """What is logged to a terminal, made visible."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines."""
        return visible(super().format(record), lines=True)
