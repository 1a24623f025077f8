"""README.md of an adapter's folder: a card of ours is replaced, a person's words are not."""

import re
from pathlib import Path

from hsd.errors import EvaluationError
from hsd.io.files import write_atomic
from hsd.io.hashes import sha256_text

CARD = "README.md"
MARK = "<!-- written by hsd card, "
_MARKED = re.compile(rf"(?P<text>.*)^{MARK}sha256 (?P<digest>[0-9a-f]{{64}}) -->$", re.S | re.M)
_STOCK_LINES = (
    "---", "base_model:", "library_name: peft", "pipeline_tag:", "tags:", "- base_model:", "- lora",
    "- transformers", "#", "This modelcard aims to be a base template",
    "Users (both direct and downstream) should", "Use the code below to get",
    "Carbon emissions can be estimated using", "**BibTeX:**", "**APA:**", "- PEFT ",
)  # fmt: skip


def write_card_file(folder: Path, text: str) -> Path:
    """Write README.md with a line that tells a later call whether somebody edited it.

    Raises EvaluationError when the file there is neither ours as it was written nor peft's form.
    """
    file = folder / CARD
    if file.exists():
        _require_replaceable(file)
    write_atomic(file, f"{text}\n{MARK}sha256 {_digest(text)} -->\n")
    return file


def _require_replaceable(file: Path) -> None:
    text = file.read_text(encoding="utf-8", errors="replace")
    marked = _MARKED.fullmatch(text.rstrip())
    if (marked and _digest(marked["text"]) == marked["digest"]) or _is_stock(text):
        return
    what = "was edited since `hsd card` wrote it" if marked else "was not written by `hsd card`"
    raise EvaluationError(f"{file} {what}; move it away, then run the same command again.")


def _digest(text: str) -> str:
    """Return a digest that line ends and blank lines at the end do not change."""
    return sha256_text("\n".join(text.rstrip().splitlines()))


def _is_stock(text: str) -> bool:
    """Return whether this is the form that peft leaves beside an adapter, not filled in."""
    lines = re.sub(r"<!--.*?-->", "", text, flags=re.S).splitlines()
    filled = [
        line
        for line in map(str.strip, lines)
        if line
        and not line.endswith("[More Information Needed]")
        and not line.startswith(_STOCK_LINES)
    ]
    return "# Model Card for Model ID" in text and not filled
