"""Tables and lines of a Markdown page; names come from data, so none of them is markup."""

import re
from collections.abc import Sequence


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True
) -> str:
    """Return a table whose first column is words and whose others are numbers, or words too."""
    others = "---:" if numbers else "---"
    lines = [header, ["---"] + [others] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(markdown_cell(cell) for cell in line)} |" for line in lines)


def markdown_cell(text: str) -> str:
    """Return text on one line that cannot end a table's cell, open a tag or start code."""
    plain = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)  # `< 0.0001` is no tag and stays readable
