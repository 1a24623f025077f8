"""What must be right about imported predictions, and what is said of them."""

from collections.abc import Sequence

from hsd.config.import_config import ImportConfig
from hsd.data.given_predictions import GivenPredictions
from hsd.data.match_predictions import Matched, first
from hsd.data.prediction_columns import LM_EVAL
from hsd.errors import DataError
from hsd.prediction import Prediction

SUSPICIOUS = 20
"""Posts of which no detector calls every one as its annotators do."""


def require_whole(matched: Matched, absent: Sequence[str], config: ImportConfig) -> None:
    """Raise DataError for posts without a prediction, and for predictions without a post."""
    if not matched.given:
        raise DataError(
            f"{config.predictions}: no prediction is of a post of {config.data_file}; ids here are "
            f"such as {first(matched.unknown)}. Name the columns with --id-column or --text-column."
        )
    problems = []
    if absent and config.missing == "fail":
        problems.append(
            f"{len(absent):,} of {config.data_file}'s posts have no prediction ({first(absent)}): "
            "complete the file, or count them as wrong with --missing unreadable"
        )
    if matched.unknown and config.unknown == "fail":
        problems.append(
            f"{len(matched.unknown):,} predictions are for no post of {config.data_file} "
            f"({first(matched.unknown)}): correct their ids, or leave them out with --unknown "
            "ignore"
        )
    if problems:
        raise DataError(f"{config.predictions}: {'; '.join(problems)}.")


def require_predicted(
    predictions: Sequence[Prediction], given: GivenPredictions, config: ImportConfig
) -> None:
    """Raise DataError where the column of predictions seems to be the true labels."""
    label = given.columns.named().get("label")
    is_told = config.label_column is not None or label in (None, LM_EVAL)
    if not is_told and len(predictions) >= SUSPICIOUS and all(p.is_right for p in predictions):
        raise DataError(
            f"{config.predictions}: '{label}' holds the true label of every post. If these are the "
            f"detector's labels, add --label-column {label}; otherwise name the detector's column "
            "with --label-column or --score-column."
        )


def read_said(given: GivenPredictions, matched: Matched, config: ImportConfig) -> str:
    """Return how the file was read, in one line."""
    columns = given.columns.named().items()
    named = ", ".join(f"{kind} in {_quoted(name)}" for kind, name in columns)
    cut = "" if config.cut is None else f"; hate from the score {config.cut:g} on"
    return f"{config.predictions}: read as {given.form}: {named}; matched by {matched.by}{cut}."


def _quoted(name: str | Sequence[str]) -> str:
    names = [name] if isinstance(name, str) else name
    return ", ".join(one if one == LM_EVAL else f"'{one}'" for one in names)  # no column's name


def unmatched_said(
    matched: Matched, absent: Sequence[str], predictions: Sequence[Prediction]
) -> list[str]:
    """Return how many predictions are missing, of no post, or unreadable."""
    said = [*_replies_said(predictions)]
    if absent:
        said.append(
            f"{len(absent):,} of {len(predictions):,} posts have no prediction ({first(absent)}); "
            "they count as unreadable replies, so as wrong."
        )
    if matched.unknown:
        said.append(
            f"{len(matched.unknown):,} predictions are for no post of the data and are ignored "
            f"({first(matched.unknown)})."
        )
    return said


def _replies_said(predictions: Sequence[Prediction]) -> list[str]:
    unread = sum(p.label is None and bool(p.reply) for p in predictions)
    return [f"{unread:,} of {len(predictions):,} replies hold no label."] if unread else []
