"""Whether a file may be replaced by a comparison: only by another comparison of hsd's own."""

import re
from pathlib import Path

from hsd.errors import EvaluationError, HsdError
from hsd.io.json_reader import read_object

_TITLES = "Comparison of evaluations|Evaluations by set|Cells of "
_PAGE = re.compile(rf"<title>(?:{_TITLES})")
_MARKDOWN = re.compile(rf"# (?:{_TITLES})")
_KEYS = {"comparisons", "sets", "leaderboard"}
_HEAD = 4096


def require_replaceable(path: Path) -> None:
    """Raise EvaluationError when a file is there that is no comparison that hsd wrote."""
    if not path.exists() or _is_ours(path):
        return
    raise EvaluationError(
        f"{path} is there already and is no comparison of hsd; name another --output, or remove it."
    )


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix == ".json":
        try:
            return bool(_KEYS & read_object(path).keys())
        except HsdError:
            return False
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8", errors="replace")
    return bool(_PAGE.search(head) if path.suffix == ".html" else _MARKDOWN.match(head))
