"""The baselines in a run's folder: evaluations of their own, on the run's posts."""

from pathlib import Path

from hsd.io.manifest import DONE, manifest_of
from hsd.prediction import Prediction
from hsd.report.predictions import Run, finished_predictions
from hsd.report.regrouping import grouped_as

BASELINES = "baselines"


def baselines_of(run: Run) -> dict[str, list[Prediction]]:
    """Return what the finished baselines in a run's folder say of its posts, by their names.

    They are counted in the run's groups, whichever they were made with.
    """
    finished = [file.parent for file in sorted(run.folder.glob(f"{BASELINES}/*/{DONE}"))]
    return {
        name_of(one): grouped_as(finished_predictions(one), run.predictions) for one in finished
    }


def name_of(baseline: Path) -> str:
    """Return the name of a finished baseline, with what it took."""
    return str(manifest_of(baseline)["model"]["name"])
