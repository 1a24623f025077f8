"""Tables and lines of a Markdown page; names come from data, so none of them is markup."""

import re
from collections.abc import Sequence

from hsd.visible import visible

_BRACKETS = re.compile(r"(?<!!)\[[-+.,\d ]+\](?![(\[:])|[\[\]]")
"""An interval, which stays as it is, or a bracket that may be a link's."""
_ADDRESS = re.compile(r"\b(https?|ftp|www)(:(?=//)|\.(?=\S))", re.IGNORECASE)
"""What a hub makes a link of by itself."""


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True
) -> str:
    """Return a table whose first column is words and whose others are numbers, or words too."""
    others = "---:" if numbers else "---"
    lines = [header, ["---"] + [others] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(markdown_cell(cell) for cell in line)} |" for line in lines)


def markdown_cell(text: str) -> str:
    """Return text on one line that is no markup: no cell's end, tag, code, link or picture."""
    plain = visible(" ".join(text.split())).replace("\\", "\\\\").replace("`", "'")
    plain = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)  # `< 0.0001` is no tag and stays readable
    plain = _BRACKETS.sub(lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", plain)
    return _ADDRESS.sub(r"\1\\\2", plain.replace("|", "\\|"))
