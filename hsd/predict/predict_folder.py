"""The folder beside a table: whose table it is, whether it is whole, and how much is answered."""

from pathlib import Path
from typing import Any

from hsd.data.read_rows import Row, stream_rows
from hsd.errors import EvaluationError, PreflightError
from hsd.io.digests import FILES, digests, require_intact
from hsd.io.files import move, write_json
from hsd.io.manifest import DONE
from hsd.io.run_identity import identity_of, require_own
from hsd.io.torn_lines import whole_lines
from hsd.model.number_format import how_to_keep
from hsd.predict.called_shares import CalledShares
from hsd.predict.predict_job import PredictPlan
from hsd.predict.window_files import remove_answers

REMEDIES = {"number_format": how_to_keep}
SETTING = "--output"


def require_own_output(plan: PredictPlan, identity: dict[str, Any]) -> None:
    """Raise PreflightError where the table or its folder is another's.

    A table that is whole is the same in whichever number format it would be computed here.
    """
    output, known = Path(plan.job.output), identity_of(plan.folder)
    if known is None and output.exists():
        raise PreflightError(
            f"{output} is there already, and {plan.folder} does not say that hsd predict wrote it; "
            f"choose another {SETTING}, or remove the file."
        )
    if known is not None and is_whole(plan):
        identity = identity | {"number_format": known.get("number_format")}
    require_own(plan.folder, identity, known, REMEDIES, SETTING)


def is_whole(plan: PredictPlan) -> bool:
    """Return whether the table was finished, and is there."""
    return (plan.folder / DONE).exists() and Path(plan.job.output).exists()


def require_unchanged(plan: PredictPlan) -> None:
    """Raise EvaluationError where a finished table is not as it was written."""
    again = f"remove it and {plan.folder}, and the same command makes it again"
    require_intact(plan.folder, EvaluationError, again)


def put_table(plan: PredictPlan, written: Path) -> None:
    """Put the whole table in its place, and say so; the answers are no longer needed."""
    output = Path(plan.job.output)
    move(written, output)
    files = digests(plan.folder, [f"../{output.name}"])
    write_json(plan.folder / DONE, {"rows": plan.found.rows, FILES: files})
    remove_answers(plan.folder)


def answered_posts(folder: Path) -> int:
    """Return how many posts are answered so far: of a window, by the shard that has most."""
    most: dict[str, int] = {}
    for file in folder.glob("answers-*.jsonl"):
        window = file.name.partition(".")[0]
        most[window] = max(most.get(window, 0), len(whole_lines(file)))
    return sum(most.values())


def shares_of_table(plan: PredictPlan) -> CalledShares:
    """Return the shares in a table that was finished before."""
    shares = CalledShares(plan.job.by)
    rows = (row.values for row in stream_rows(Path(plan.job.output)) if isinstance(row, Row))
    shares.add_all(rows, plan.columns.label_column, plan.columns.reason_column)
    return shares
