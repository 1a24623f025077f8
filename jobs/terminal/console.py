"""rich's console as hsd uses it; apart from output.py, so that `hsd --help` loads no rich."""

from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from hsd.visible import visible
from jobs.terminal.output import brief


def escape(text: str) -> str:
    """Return text that rich prints as it is: on one line, visible, brief and no markup."""
    return markup.escape(brief(visible(text)))


def escape_lines(lines: Iterable[str]) -> str:
    """Return lines that rich prints as they are, one below the other."""
    return "\n".join(map(escape, lines))


class Terminal(Console):
    """A rich console that lets no text act; colours and movements of rich's own stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # before widths are measured
        """Return text as rich draws it."""
        return super().render_str(visible(text, lines=True), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is drawn, whatever it was made of."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text, lines=True)
            yield Segment(text, segment.style, segment.control)
