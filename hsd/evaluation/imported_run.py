"""Predictions of another program as an evaluation run: the same files, and no model behind them."""

import time
from dataclasses import dataclass
from pathlib import Path

from hsd.config.import_config import ImportConfig
from hsd.config.run_record import recorded
from hsd.evaluation.import_plan import ImportPlan, plan_import
from hsd.io.dated_folder import existing_run, new_folder
from hsd.io.lease import hold_lease
from hsd.io.manifest import DONE
from hsd.io.run_identity import claim
from hsd.report.context import NOT_TRAINED_HERE, ReportContext
from hsd.report.finish_evaluation import finish_evaluation
from hsd.report.regrouping import other_groups_said

_WORK = "hsd import"


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished import. `skipped` says it was finished before."""

    folder: Path
    notes: list[str]
    skipped: bool = False


def import_predictions(config: ImportConfig, data_dir: Path | None = None) -> Imported:
    """Write the evaluation run of another program's predictions, or find it finished.

    Raises ConfigError and DataError as `plan_import`; PreflightError where `output_dir` is the
    folder of another run; InUseError while another process writes this one.
    """
    since = time.monotonic()
    plan = plan_import(config, data_dir)
    identity = plan.identity()
    if (folder := existing_run(config.output_dir, identity)) and (folder / DONE).exists():
        notes = [*plan.notes, *other_groups_said(folder, plan.groups)]
        return Imported(folder, notes, skipped=True)
    with hold_lease(config.output_dir, _WORK):
        folder = existing_run(config.output_dir, identity) or new_folder(config.output_dir)
        claim(folder, identity)
        if not (folder / DONE).exists():  # by who had the lease a moment ago
            facts = plan.facts(identity)
            with recorded(folder, "import", config, gpus=0, since=since, **facts):
                _write(folder, plan)
    return Imported(folder, plan.notes)


def _write(folder: Path, plan: ImportPlan) -> None:
    context = ReportContext(
        training_note=NOT_TRAINED_HERE,
        groups=plan.groups,
        imported=True,
        ranks=plan.config.scores == "rank",
    )
    finish_evaluation(folder, plan.predictions, context)
