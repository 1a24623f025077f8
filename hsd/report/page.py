"""One self-contained HTML page: sections of tables, drawings and words, in one look.

Posts are written by attackers: everything but our own drawings and script is escaped, and the
page's own policy lets nothing load and no other script run.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

from hsd.metrics.intervals import Interval
from hsd.report.dot_chart import DotChart
from hsd.report.formatting import UNKNOWN, between, change_between, number, p_value, signed
from hsd.report.report_values import ShareReport
from hsd.version import __version__

Look = Literal["", "good", "bad", "warn", "absent", "name", "words"]


@dataclass(frozen=True, slots=True)
class TableCell:
    """A cell's text, and the number it is sorted by; None sorts by the text."""

    text: str
    value: float | None = None
    look: Look = ""


@dataclass(frozen=True, slots=True)
class PageTable:
    """Rows under a header; the first cell of a row names it. A folded one opens on a click."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    note: str = ""
    folded: bool = False
    kind: str = field(default="table", init=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing of our own, as SVG."""

    svg: str
    caption: str
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph; `warning` and `danger` stand out."""

    text: str
    look: Literal["", "warning", "danger"] = ""
    kind: str = field(default="words", init=False)


@dataclass(frozen=True, slots=True)
class Lines:
    """A list."""

    lines: Sequence[str]
    look: Literal["", "warning", "danger"] = ""
    kind: str = field(default="list", init=False)


Part = PageTable | Figure | DotChart | Words | Lines


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page."""

    title: str
    parts: Sequence[Part]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Badge:
    """The verdict box: a status, one sentence, reasons, and further ones that open on a click."""

    status: str
    reasons: Sequence[str]
    sentence: str = ""
    folded: Sequence[str] = ()
    look: Literal["", "pass", "fail", "underpowered"] = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page."""

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    badge: Badge | None = None
    footer: str = f"Written by hsd {__version__}. No network is used by this page."


def render_page(page: Page) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=False)
    script = _look("sort.js")
    digest = hashlib.sha256(script.encode()).digest()
    return environment.from_string(_look("page.html.j2")).render(
        page=page,
        style=_safe(_look("style.css")),
        script=script,
        script_sha256=base64.b64encode(digest).decode(),
    )


def text(value: object, look: Look = "name") -> TableCell:
    """Return a cell of words."""
    return TableCell(str(value), None, look)


def count(value: int) -> TableCell:
    """Return a cell of a whole number."""
    return TableCell(f"{value:,}", float(value))


def value(value: float | None, look: Look = "") -> TableCell:
    """Return a cell of a number of three digits; what does not exist is no 0."""
    return TableCell(number(value), value, look if value is not None else "absent")


def estimate(value: float | None, interval: Interval | None, look: Look = "") -> TableCell:
    """Return a cell of a number with its interval; what does not exist is no 0."""
    return _spread(value, interval, number, between, look)


def spread(share: ShareReport) -> TableCell:
    """Return a cell of a share with its interval."""
    return estimate(share.value, share.interval)


def estimated_change(value: float | None, interval: Interval | None, look: Look = "") -> TableCell:
    """Return a cell of a difference with its interval, all with signs."""
    return _spread(value, interval, signed, change_between, look)


def p(value: float | None) -> TableCell:
    """Return a cell of a p-value."""
    return TableCell(p_value(value), value, "" if value is not None else "absent")


def _spread(
    value: float | None,
    interval: Interval | None,
    words: Callable[[float | None], str],
    around: Callable[[Interval | None], str],
    look: Look,
) -> TableCell:
    if value is None:
        return TableCell(UNKNOWN, None, "absent")
    ends = f" {around(interval)}" if interval else ""
    return TableCell(f"{words(value)}{ends}", value, look)


@cache
def _look(name: str) -> str:
    return files("hsd.report").joinpath("look", name).read_text(encoding="utf-8")


def _safe(style: str) -> object:
    from markupsafe import Markup

    return Markup(style)  # noqa: S704 - our own file
