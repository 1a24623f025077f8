"""The last files of an evaluation, whoever answered: predictions, reports, and the marker."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hsd.io.dated_folder import stamp
from hsd.io.files import write_json, write_jsonl
from hsd.io.manifest import DONE
from hsd.prediction import Prediction
from hsd.report.comparability import provenance_of
from hsd.report.context import ReportContext
from hsd.report.evaluation_files import write_evaluation
from hsd.report.predictions import PREDICTIONS, done_evaluation


def finish_evaluation(
    folder: Path, predictions: Sequence[Prediction], beside: ReportContext
) -> None:
    """Write predictions and reports into a run's folder; its marker comes last."""
    write_jsonl(folder / PREDICTIONS, map(asdict, predictions), posts=True)
    report = write_evaluation(folder, predictions, provenance_of(folder), stamp(folder), beside)
    done = done_evaluation(folder, len(predictions))
    write_json(folder / DONE, {**done, "headline": report.headline.model_dump(mode="json")})
