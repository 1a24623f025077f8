"""Rows of a file of predictions read into labels and scores, by columns that a person may name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.import_config import ImportConfig
from hsd.data import cell_values
from hsd.data.label_names import is_blank, parse_label
from hsd.data.lm_eval_samples import CHOICES, FILTER, REPLY
from hsd.data.loaded_file import Bad, LeftOut, listed
from hsd.data.own_labels import meaning, row_label
from hsd.data.prediction_forms import Predictions, recognised
from hsd.data.read_rows import BadRow, Row, read_rows
from hsd.data.table_columns import Columns, columns_of
from hsd.errors import DataError, did_you_mean
from hsd.example import Label
from hsd.prediction import Outcome
from hsd.prompts.answers import read_reply

_IDS = ("id", "case_id", "mhc_case_id", "custom_id", "clientToken", "original_id", "post_id")
_TEXTS = ("text", "test_case", "input_text", "comment_text", "post", "tweet", "comment")
_LM_EVAL = "lm-eval's answers"


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """Which column of the predictions holds what; None where none does."""

    id: str | None
    text: str | None
    labels: Columns | None
    score: str | None

    def named(self) -> dict[str, Any]:
        """Return them for the manifest."""
        label = self.labels.label if self.labels else None
        found = {"id": self.id, "text": self.text, "label": label, "score": self.score}
        return {kind: name for kind, name in found.items() if name is not None}


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
    reply: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether it says nothing at all."""
        return self.label is None and self.score is None and not self.reply

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


def read_predictions_of(config: ImportConfig) -> GivenPredictions:
    """Return the predictions of a file; raises DataError, listing every kind of bad row."""
    path = Path(config.predictions)
    rows, bad = read_rows(path)
    found = recognised(rows)
    columns = _columns(found, config)
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
    return GivenPredictions(given, found.form, columns)


def _require_one_filter(found: Predictions) -> None:
    filters = {str(row.values.get(FILTER)) for row in found.rows} if found.lm_eval else set()
    if len(filters) > 1:
        raise DataError(
            f"{found.rows[0].place}: the samples are of {len(filters)} filters "
            f"({', '.join(sorted(filters))}); keep the lines of one."
        )


def _columns(found: Predictions, config: ImportConfig) -> PredictionColumns:
    labels = columns_of(
        label_column=config.label_column, labels=config.labels, id_column=config.id_column
    ) or Columns()  # fmt: skip
    place = config.predictions
    for option in ("id", "text", "score"):
        _require(getattr(config, f"{option}_column"), option, found, place)
    ids = config.id_column or _first(_IDS, found)
    texts = config.text_column or _first(_TEXTS, found)
    if ids is None and texts is None:
        raise DataError(
            f"{place}: no column says which post a prediction is of (columns: {_listed(found)}); "
            "name it with --id-column or --text-column."
        )
    if found.lm_eval:
        return PredictionColumns(ids, texts, replace(labels, label=_LM_EVAL), None)
    named = config.label_column is not None or config.score_column is not None
    label = _label_columns(found, config, named)
    score = config.score_column
    if score is None and not named:
        score = _only(found.scores, "score", place)
    if label is None and score is None:
        raise DataError(
            f"{place}: no column holds a label or a score (columns: {_listed(found)}); name it "
            "with --label-column or --score-column."
        )
    return PredictionColumns(ids, texts, replace(labels, label=label) if label else None, score)


def _label_columns(
    found: Predictions, config: ImportConfig, named: bool
) -> str | tuple[str, ...] | None:
    """Return the columns of labels: those that are named, else the one that the form has."""
    given = config.label_column
    if given is not None:
        for name in [given] if isinstance(given, str) else given:
            _require(name, "label", found, config.predictions)
        return given if isinstance(given, str) else tuple(given)
    if named or config.cut is not None:
        return None
    return _only(found.labels, "label", config.predictions)


def _only(names: Sequence[str], kind: str, place: str) -> str | None:
    if len(names) > 1:
        raise DataError(
            f"{place}: several columns hold a {kind} ({', '.join(names)}); choose one with "
            f"--{kind}-column, such as --{kind}-column {names[0]}."
        )
    return names[0] if names else None


def _require(name: str | None, kind: str, found: Predictions, place: str) -> None:
    if name is not None and name not in found.columns:
        hint = did_you_mean(name, beside=found.columns)
        raise DataError(
            f"{place}:1: no column '{name}'.{hint} Name it with --{kind}-column; the columns are "
            f"{_listed(found)}."
        )


def _listed(found: Predictions) -> str:
    names = [name for name in found.columns if name not in (CHOICES, REPLY)]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{', '.join(name[:60] for name in names[:12])}{more}"


def _first(names: Sequence[str], found: Predictions) -> str | None:
    return next((name for name in names if name in found.columns), None)


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
        return Bad(f"'{column}' holds no number; expected a score such as 0.73")
    return found


def _of_lm_eval(
    made: GivenPrediction, values: Mapping[str, Any], columns: Columns
) -> GivenPrediction | Bad:
    choices = values.get(CHOICES)
    if choices:
        return _of_choices(made, choices, columns)
    reply = values.get(REPLY)
    if reply is None:
        return Bad("filtered_resps holds neither log-likelihoods of choices nor one reply")
    label = parse_label(reply, columns.labels)
    if label in ("hate", "normal"):
        return replace(made, label=label, outcome="valid", reply=reply)
    parsed = read_reply(reply)
    return replace(made, label=parsed.label, outcome=parsed.outcome, reply=reply)


def _of_choices(
    made: GivenPrediction, choices: Mapping[str, float], columns: Columns
) -> GivenPrediction | Bad:
    """Return the likeliest choice, and P(hate) among the choices, as hsd scores labels."""
    masses: dict[str, float] = {}
    largest = max(choices.values())
    for choice, likelihood in choices.items():
        said = meaning(choice, _LM_EVAL, columns)
        if isinstance(said, Bad):
            return said
        masses[said] = masses.get(said, 0.0) + math.exp(likelihood - largest)
    likeliest = meaning(max(choices, key=lambda one: choices[one]), _LM_EVAL, columns)
    label: Label | None = "hate" if likeliest == "hate" else "normal"
    if likeliest == "drop" or not {"hate", "normal"} <= masses.keys():
        label = None if likeliest == "drop" else label
        return replace(made, label=label)
    return replace(made, label=label, score=masses["hate"] / sum(masses.values()))
