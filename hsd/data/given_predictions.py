"""Rows of a file of predictions read into labels and scores, by columns that a person may name."""

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.import_config import ImportConfig
from hsd.data import cell_values
from hsd.data.label_names import UnknownLabel, is_blank, is_flag, parse_label
from hsd.data.lm_eval_samples import CHOICES, FILTER, REPLY
from hsd.data.loaded_file import Bad, LeftOut, listed
from hsd.data.own_labels import meaning, row_label
from hsd.data.prediction_columns import LM_EVAL, PredictionColumns, choose_columns
from hsd.data.prediction_forms import Predictions, recognised
from hsd.data.read_rows import BadRow, Row, read_rows
from hsd.data.table_columns import Columns
from hsd.errors import DataError
from hsd.example import Label
from hsd.prediction import Outcome
from hsd.prompts.answers import read_reply

SHORT = 12
"""Characters of a reply that a message may quote: a longer one may quote a post."""
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]*,[0-9]+")


@dataclass(frozen=True, slots=True)
class GivenPrediction:
    """What a detector said of one post: a label, a score in the file's own scale, or neither.

    `outcome` says what came of a prediction without a label.
    """

    place: str
    id: str = ""
    text: str = ""
    label: Label | None = None
    score: float | None = None
    outcome: Outcome = "invalid"
    reply: str | None = None
    """What a model wrote, where the file has that."""

    @property
    def said(self) -> tuple[Any, ...]:
        """What it says; two predictions with the same are one, given twice."""
        return self.label, self.score, self.reply


@dataclass(frozen=True, slots=True)
class GivenPredictions:
    """The predictions of a file, its form, and which columns were read."""

    rows: list[GivenPrediction]
    form: str
    columns: PredictionColumns


def read_predictions_of(config: ImportConfig, post_ids: Set[str] = frozenset()) -> GivenPredictions:
    """Return the predictions of a file; raises DataError, listing every kind of bad row.

    `post_ids` are the ids of the posts, which tell the column of ids.
    """
    path = Path(config.predictions)
    rows, bad = read_rows(path)
    found = recognised(rows)
    columns = choose_columns(found, config, post_ids)
    given: list[GivenPrediction] = []
    for row in found.rows:
        made = _given(row, columns, found.lm_eval)
        if isinstance(made, Bad):
            bad.append(BadRow(row.place, made.reason))
        else:
            given.append(made)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(given) + len(bad)} predictions cannot be used: {listed(bad)}."
        )
    _require_one_filter(found)
    _require_some_label(given, config.predictions)
    return GivenPredictions(given, found.form, columns)


def _require_one_filter(found: Predictions) -> None:
    filters = {str(row.values.get(FILTER)) for row in found.rows} if found.lm_eval else set()
    if len(filters) > 1:
        raise DataError(
            f"{found.rows[0].place}: the samples are of {len(filters)} filters "
            f"({', '.join(sorted(filters))}); keep the lines of one."
        )


def _require_some_label(given: Sequence[GivenPrediction], place: str) -> None:
    """Raise DataError where every reply is unreadable: the labels have other names, most likely."""
    replies = [row for row in given if row.reply is not None]
    if replies and all(row.label is None for row in replies):
        shown = sorted({str(row.reply).strip() for row in replies if len(str(row.reply)) <= SHORT})
        such = f" (such as {', '.join(map(repr, shown[:3]))})" if shown else ""
        raise DataError(
            f"{place}: none of {len(replies):,} replies holds a label that hsd knows{such}; say "
            "what they mean with --labels, such as --labels hate=A normal=B."
        )


def _given(row: Row, columns: PredictionColumns, lm_eval: bool) -> GivenPrediction | Bad:
    values = row.values
    made = GivenPrediction(
        row.place,
        cell_values.string(values, columns.id) if columns.id else "",
        cell_values.string(values, columns.text) if columns.text else "",
    )
    if lm_eval:
        assert columns.labels is not None
        return _of_lm_eval(made, values, columns.labels)
    label = _label(values, columns.labels)
    score = _score(values.get(columns.score), columns.score) if columns.score else None
    if isinstance(label, Bad):
        return label
    if isinstance(score, Bad):
        return score
    return replace(made, label=label, score=score)


def _label(values: Mapping[str, Any], columns: Columns | None) -> Label | None | Bad:
    """Return a predicted label; None for a blank, and for one that stands for no prediction."""
    if columns is None or all(is_blank(values.get(name)) for name in columns.label_columns):
        return None
    found = row_label(values, columns)
    if isinstance(found, LeftOut):
        return None
    return found if isinstance(found, Bad) else found.label


def _score(value: Any, column: str) -> float | None | Bad:
    if is_blank(value):
        return None
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        return Bad(_no_number(value, column))
    return found


def _no_number(value: Any, column: str) -> UnknownLabel:
    advice = "expected a score such as 0.73"
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
        advice = "a decimal comma; expected a decimal point, such as 0.73"
    return UnknownLabel(repr(str(value)[:40]), f"'{column}'", advice, what="unreadable number")


def _of_lm_eval(
    made: GivenPrediction, values: Mapping[str, Any], columns: Columns
) -> GivenPrediction | Bad:
    choices = values.get(CHOICES)
    if choices:
        return _of_choices(made, choices, columns)
    reply = values.get(REPLY)
    if reply is None:
        return Bad("filtered_resps holds neither log-likelihoods of choices nor one reply")
    label = None if _is_doubtful(reply, columns) else parse_label(reply, columns.labels)
    if label in ("hate", "normal"):
        return replace(made, label=label, outcome="valid", reply=reply)
    parsed = read_reply(reply)
    return replace(made, label=parsed.label, outcome=parsed.outcome, reply=reply)


def _is_doubtful(said: str, columns: Columns) -> bool:
    """Whether an answer is a bare yes or no, whose question hsd does not know."""
    return not columns.labels and is_flag(said)


def _of_choices(
    made: GivenPrediction, choices: Mapping[str, float], columns: Columns
) -> GivenPrediction | Bad:
    """Return the likeliest choice, and P(hate) among the choices, as hsd scores labels."""
    masses: dict[str, float] = {}
    largest = max(choices.values())
    if any(map(math.isnan, choices.values())) or not math.isfinite(largest):
        return Bad("no choice has a log-likelihood that is a number")
    for choice, likelihood in choices.items():
        said = meaning(choice, LM_EVAL, columns)
        if _is_doubtful(choice, columns):
            return Bad(
                f"the choice '{choice}' may mean hate or normal; say which, such as --labels "
                "hate=yes normal=no"
            )
        if isinstance(said, Bad):
            return said
        masses[said] = masses.get(said, 0.0) + math.exp(likelihood - largest)
    likeliest = meaning(max(choices, key=lambda one: choices[one]), LM_EVAL, columns)
    label: Label | None = "hate" if likeliest == "hate" else "normal"
    if likeliest == "drop" or not {"hate", "normal"} <= masses.keys():
        label = None if likeliest == "drop" else label
        return replace(made, label=label)
    return replace(made, label=label, score=masses["hate"] / sum(masses.values()))
