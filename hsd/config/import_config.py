"""Everything that decides how predictions of another program become an evaluation."""

from pathlib import Path
from typing import Literal

from pydantic import FiniteFloat, NonNegativeInt, PositiveInt

from hsd.config.strict import Folder, GroupsName, Names, Strict, Text
from hsd.config.table_config import TableConfig

Scale = Literal["probability", "percent", "logit", "rank"]


class ImportConfig(Strict):
    """The predictions of one detector for one set of rows."""

    predictions: Text
    """File with a label or a score for each post, or both: JSONL, JSON, CSV, TSV, Parquet."""
    name: Text | None = None
    """What the detector is called; None: the name of the file of predictions."""
    data_file: Text
    """The posts with their true labels: a name such as `unified`, or a file."""
    data: TableConfig = TableConfig()
    """Columns of the file of posts."""
    output_dir: Folder = Path("runs/import")
    """A run folder `run_YYYYMMDD_HHMMSS` is made in it."""
    id_column: Text | None = None
    """Column of the predictions with the post's id."""
    text_column: Text | None = None
    """Column of the predictions with the post."""
    label_column: Text | Names | None = None
    """Column of the predictions with the label; several columns vote."""
    score_column: Text | None = None
    """Column of the predictions with the score."""
    labels: Text | None = None
    """What each predicted label means: `hate=toxic normal=ok`. `drop=NAME` is no prediction."""
    cut: FiniteFloat | None = None
    """Labels come from the scores: a post is called hate from this score on, in the file's own
    scale."""
    scores: Scale = "probability"
    """What the scores are. `probability` is P(hate) from 0 to 1, `percent` the same from 0 to 100,
    `logit` its log-odds. `rank` is any number, higher for more hateful: no probability, so nothing
    is said of calibration."""
    score_of: Literal["hate", "normal", "label"] = "hate"
    """What the scores are of: hate, normal, or the label that was predicted."""
    missing: Literal["fail", "unreadable"] = "fail"
    """What a post without a prediction is: an error, or an unreadable reply, which counts as
    wrong."""
    unknown: Literal["fail", "ignore"] = "fail"
    """What a prediction for no post of the data is: an error, or ignored and counted."""
    only_sources: tuple[Text, ...] = ()
    """Take only the rows of these sources (`source_dataset`)."""
    groups: GroupsName | None = None
    """Groups that error rates are counted for; None: `three`."""
    intersections: tuple[Text, ...] = ()
    """Groups that are also counted together."""
    max_samples: PositiveInt | None = None
    """The seeded sample of this many rows that `hsd evaluate` takes; None takes all."""
    seed: NonNegativeInt = 42
    """Of the sample."""
