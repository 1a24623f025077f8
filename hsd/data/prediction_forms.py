"""The forms of files of predictions, told from their columns, and brought into plain columns.

Perspective's and OpenAI's answers are objects within objects. Their fields become columns named by
their path (`attributeScores.TOXICITY.summaryScore.value`), as pandas' json_normalize names them, so
that a table that was made of such answers is recognised too.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsd.data import cell_values
from hsd.data.lm_eval_samples import CHOICES, REPLY, is_sample, sample_columns
from hsd.data.read_rows import Row
from hsd.errors import DataError

_ATTRIBUTE = re.compile(r"(?:.*\.)?attributeScores\.([A-Z_]+)\.summaryScore\.value")
_CATEGORY = re.compile(r"(?:.*\.)?(category_scores|categories)\.([^.]+)")
_ATTRIBUTES = {
    "TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT",
    "SEXUALLY_EXPLICIT", "ATTACK_ON_AUTHOR",
}  # fmt: skip
"""Perspective's attributes, which tables of its scores name their columns after."""
_CASES = ("case_id", "mhc_case_id")
_PREDICTED = ("prediction", "predicted_label", "pred_label", "predicted", "pred", "hsd_label")
_LABELS = (*_PREDICTED, "label")
_SCORES = ("score", "p_hate", "prob_hate", "hate_score", "probability", "prob", "hsd_score")
_DEEPEST = 8
"""Objects within objects; no service nests deeper."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """The rows of a file of predictions with plain columns, and which of them may say what.

    `labels` and `scores` are alternatives: with several of them a person has to choose.
    """

    form: str
    rows: Sequence[Row]
    labels: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    lm_eval: bool = False

    @property
    def columns(self) -> dict[str, None]:
        """All columns, in the order in which they come up."""
        return dict.fromkeys(name for row in self.rows for name in row.values)


def recognised(rows: Sequence[Row]) -> Predictions:
    """Return the rows with plain columns, and the form that these columns tell."""
    if rows and all(is_sample(row.values) for row in rows):
        plain = [Row(plain_columns(sample_columns(row.values)), row.place) for row in rows]
        return Predictions("samples of lm-eval", plain, lm_eval=True)
    plain = [Row(plain_columns(row.values), row.place) for row in rows]
    columns = list(dict.fromkeys(name for row in plain for name in row.values))
    if any(_ATTRIBUTE.fullmatch(name) for name in columns):
        named = _renamed(plain, _attribute)
        return Predictions("answers of Perspective", named, scores=_scores_of(columns))
    if any(_CATEGORY.fullmatch(name) for name in columns):
        named = _renamed(plain, _category)
        score, label = ("category_scores.hate",), ("categories.hate",)
        return Predictions("answers of OpenAI's moderation", named, label, score)
    if found := tuple(name for name in columns if name.upper() in _ATTRIBUTES):
        return Predictions("scores of Perspective's attributes", plain, scores=found)
    predicted = tuple(name for name in columns if name.startswith("pred_"))
    if predicted and any(name in columns for name in _CASES):
        return Predictions("predictions for test cases", plain, predicted)
    return Predictions("a table", plain, _first(_LABELS, columns), _first(_SCORES, columns))


def plain_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose objects became columns; a list of plain values stays one value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in (CHOICES, REPLY):
            found[name] = value
            continue
        found.update(_leaves(name, _contained(values, name, value), _DEEPEST))
    return found


def _leaves(path: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if depth and isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner, depth - 1)
    elif depth and isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for at, inner in enumerate(value):
            yield from _leaves(f"{path}.{at}", inner, depth - 1)
    else:
        yield path, value


def _contained(values: Mapping[str, Any], name: str, value: Any) -> Any:
    """Return an answer that was written into a cell of text as JSON."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    found = cell_values.contained(values, name)
    return found if isinstance(found, dict) else value


def _renamed(rows: Sequence[Row], rename: Callable[[str], str]) -> list[Row]:
    """Return rows with other names of columns. Raises DataError for an answer about many posts."""
    made = [Row({rename(k): v for k, v in row.values.items()}, row.place) for row in rows]
    for before, after in zip(rows, made, strict=True):
        if len(after.values) < len(before.values):
            raise DataError(
                f"{after.place}: this answer holds several results; write one line for each post."
            )
    return made


def _attribute(name: str) -> str:
    found = _ATTRIBUTE.fullmatch(name)
    return found[1] if found else name


def _category(name: str) -> str:
    found = _CATEGORY.fullmatch(name)
    return f"{found[1]}.{found[2]}" if found else name


def _scores_of(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_attribute(n) for n in columns if _ATTRIBUTE.fullmatch(n)))


def _first(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in columns)[:1]
