"""Which columns of a file of predictions are read: those that a person names, or the form's own."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from hsd.config.import_config import ImportConfig
from hsd.data import cell_values
from hsd.data.label_names import denies_hate
from hsd.data.lm_eval_samples import CHOICES, REPLY
from hsd.data.prediction_forms import Predictions
from hsd.data.table_columns import Columns, columns_of
from hsd.errors import ConfigError, DataError, did_you_mean

_IDS = ("id", "case_id", "mhc_case_id", "custom_id", "clientToken", "original_id", "post_id")
_TEXTS = ("text", "test_case", "input_text", "comment_text", "post", "tweet", "comment")
_NOT_OF_SAMPLES = ("label_column", "score_column", "scores", "score_of")
LM_EVAL = "lm-eval's answers"
"""What stands for the column of labels in samples of lm-eval."""


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


def choose_columns(
    found: Predictions, config: ImportConfig, post_ids: Set[str] = frozenset()
) -> PredictionColumns:
    """Return the columns to read: one that a person names for something is read as nothing else.

    `post_ids` are the posts' ids, which tell the column of ids from others that look like one.
    Raises DataError where none, or several, may be meant.
    """
    if found.lm_eval:
        _require_for_samples(config)
    for option in ("id", "text", "score"):
        _require(getattr(config, f"{option}_column"), option, found, config.predictions)
    _require_one_use(config)
    ids, texts = _post_columns(found, config, post_ids)
    labels = columns_of(labels=config.labels) or Columns()
    if found.lm_eval:
        return PredictionColumns(ids, texts, replace(labels, label=LM_EVAL), None)
    is_named = config.label_column is not None or config.score_column is not None
    label = _label_columns(found, config, is_named=is_named)
    score = config.score_column
    if not is_named:
        score = _only(_free(found.scores, config), "score", config.predictions)
    if score is None and config.cut is not None:
        raise DataError(
            f"{config.predictions}: --cut needs scores, and no column holds any (columns: "
            f"{_listed(found)}); name it with --score-column, or leave out --cut."
        )
    if label is None and score is None:
        raise DataError(
            f"{config.predictions}: no column holds a label or a score (columns: {_listed(found)});"
            " name it with --label-column or --score-column."
        )
    _require_of_hate(score, config)
    return PredictionColumns(ids, texts, replace(labels, label=label) if label else None, score)


def plain_id(id_: str) -> str:
    """Return an id as it was before a program read a column of whole numbers with gaps."""
    return id_.strip().removesuffix(".0")


def _named(config: ImportConfig) -> list[str]:
    """Return the columns that a person names, each as often as it is named."""
    labels = config.label_column or ()
    several = [labels] if isinstance(labels, str) else labels
    single = (config.id_column, config.text_column, config.score_column)
    return [*(name for name in single if name), *several]


def _free(names: Sequence[str], config: ImportConfig) -> list[str]:
    """Return the columns that no person named for something else."""
    named = _named(config)
    return [name for name in names if name not in named]


def _require_one_use(config: ImportConfig) -> None:
    named = _named(config)
    for option in ("id", "text"):
        name = getattr(config, f"{option}_column")
        if name is not None and named.count(name) > 1:
            raise DataError(
                f"{config.predictions}: the column '{name}' is named with --{option}-column and for"
                " something else; name another column for one of the two."
            )


def _require_for_samples(config: ImportConfig) -> None:
    """Raise ConfigError for options about columns that samples of lm-eval do not have."""
    for option in _NOT_OF_SAMPLES:
        if getattr(config, option) != ImportConfig.model_fields[option].default:
            raise ConfigError(
                f"{option}: {config.predictions} holds samples of lm-eval, of which hsd reads the "
                f"label and P(hate) itself; leave --{option.replace('_', '-')} out (--labels and "
                "--cut apply)."
            )


def _require_of_hate(score: str | None, config: ImportConfig) -> None:
    """Raise DataError for scores that seem to be of normal, unless a person says what of."""
    if score and denies_hate(score) and "score_of" not in config.model_fields_set:
        raise DataError(
            f"{config.predictions}: by the name of '{score}', its scores are of normal. Add "
            "--score-of normal; or --score-of hate, if they are of hate."
        )


def _post_columns(
    found: Predictions, config: ImportConfig, post_ids: Set[str]
) -> tuple[str | None, str | None]:
    """Return the columns of the post's id and text; a column of texts alone may be named."""
    ids = config.id_column
    if ids is None and config.text_column is None:
        ids = _id_column(_present(_free(_IDS, config), found), found, post_ids)
    texts = config.text_column or next(iter(_present(_free(_TEXTS, config), found)), None)
    if ids is None and texts is None:
        raise DataError(
            f"{config.predictions}: no column says which post a prediction is of (columns: "
            f"{_listed(found)}); name it with --id-column or --text-column."
        )
    return ids, texts


def _label_columns(
    found: Predictions, config: ImportConfig, *, is_named: bool
) -> str | tuple[str, ...] | None:
    """Return the columns of labels: those that are named, else the one that the form has."""
    given = config.label_column
    if given is not None:
        for name in [given] if isinstance(given, str) else given:
            _require(name, "label", found, config.predictions)
        return given if isinstance(given, str) else tuple(given)
    if is_named or config.cut is not None:
        return None
    return _only(_free(found.labels, config), "label", config.predictions)


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


def _present(names: Sequence[str], found: Predictions) -> list[str]:
    columns = found.columns
    return [name for name in names if name in columns]


def _id_column(names: Sequence[str], found: Predictions, post_ids: Set[str]) -> str | None:
    """Return the first column that holds an id of a post; without one, the first column.

    A service gives its answers ids of its own, beside the id that was sent to it.
    """
    for name in names:
        if any(plain_id(cell_values.string(row.values, name)) in post_ids for row in found.rows):
            return name
    return next(iter(names), None)
