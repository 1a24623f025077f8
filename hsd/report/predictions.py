"""predictions.jsonl: written row by row while a model answers, read by everything after it.

A last line that is half written is none (`hsd.io.torn_lines`), so its id is answered again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hsd.errors import EvaluationError, did_you_mean
from hsd.groups.group_set import GroupSet, default_groups, load_groups
from hsd.io.digests import FILES, digests, require_intact
from hsd.io.json_reader import read_object
from hsd.io.manifest import DONE, manifest_of
from hsd.io.run_identity import identity_of, set_name
from hsd.io.torn_lines import append_rows, whole_lines
from hsd.metrics.outcomes import READABLE
from hsd.prediction import Prediction
from hsd.report.regrouping import evaluated_groups, regrouped, reported_groups

PREDICTIONS = "predictions.jsonl"
PARTS = "predictions.rank*.jsonl"
"""What each rank has answered, until all have."""
ROW = TypeAdapter(Prediction)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished evaluation: its folder, predictions and manifest ({} when it has none).

    `groups` are those that the predictions are counted in.
    """

    folder: Path
    predictions: list[Prediction]
    manifest: dict[str, Any]
    groups: GroupSet = field(default_factory=default_groups)


def append_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Add rows behind those that are there, on disk when this returns."""
    append_rows(path, map(asdict, predictions))


def answered_rows(folder: Path, of_shard: str = "") -> int:
    """Return how many rows all ranks have answered, whole lines alone.

    `of_shard` is what the names of one shard's files end in; those of all are counted without.
    """
    files = folder.glob(f"{PARTS.removesuffix('.jsonl')}{of_shard}.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files)


def read_predictions(path: Path) -> list[Prediction]:
    """Return the rows in the order they were written; a file that is not there has none.

    Raises EvaluationError, naming file and line, for a row that is not a prediction or repeats
    an id.
    """
    rows: dict[str, Prediction] = {}
    for number, line in enumerate(whole_lines(path), start=1):
        row = _row(line, f"{path}:{number}")
        if row.id in rows:
            raise EvaluationError(f"{path}:{number}: id '{row.id}' was there before; remove one.")
        rows[row.id] = row
    return list(rows.values())


def finished_predictions(folder: Path) -> list[Prediction]:
    """Return the rows in an evaluation's folder, held to what done.json says of them.

    One that is not finished has none to be held to. Raises EvaluationError, as `read_predictions`,
    and when a row was lost, added or changed since; PreflightError when done.json cannot be read.
    """
    rows = read_predictions(folder / PREDICTIONS)
    done = folder / DONE
    said = read_object(done).get("rows") if done.exists() else None
    again = "put it back, or remove done.json, and the same `hsd evaluate` makes it once more"
    if said is not None and said != len(rows):
        raise EvaluationError(
            f"{folder / PREDICTIONS}: {len(rows)} rows, where {DONE} says {said}; {again}."
        )
    require_intact(folder, EvaluationError, again)
    return rows


def done_evaluation(folder: Path, rows: int) -> dict[str, Any]:
    """Return what done.json says of an evaluation's predictions in `folder`."""
    return {"rows": rows, FILES: digests(folder, [PREDICTIONS])}


def load_run(path: Path, groups: GroupSet | None = None) -> Run:
    """Return the evaluation in `path`, or in the one run_* folder inside it.

    Its posts are counted in `groups`; None takes those that the run was last reported with.

    Raises EvaluationError when there is none, more than one, or one without predictions, and as
    `finished_predictions`.
    """
    folder = find_evaluation(path)
    predictions = finished_predictions(folder)
    if not predictions:
        raise EvaluationError(f"{folder / PREDICTIONS}: no predictions; finish the evaluation.")
    manifest = manifest_of(folder)
    wanted = groups or reported_groups(manifest)
    return Run(folder, regrouped(predictions, evaluated_groups(manifest), wanted), manifest, wanted)


def counted_in(run: Run, name: str | None, intersections: Sequence[str] = ()) -> Run:
    """Return a run with its posts counted in the groups of a shipped set or a group file.

    None keeps its groups; `intersections` are counted beside them.
    """
    groups = load_groups(name) if name else run.groups
    if intersections:
        groups = groups.with_intersections(intersections)
    return run if groups.digest == run.groups.digest else load_run(run.folder, groups)


def find_evaluation(path: Path) -> Path:
    """Return the folder with predictions.jsonl: `path` itself or the one run_* inside it."""
    if (path / PREDICTIONS).is_file():
        return path
    if not path.is_dir():
        known = [p.name for p in path.absolute().parent.glob("*") if p.is_dir()]
        raise EvaluationError(f"{path}: no such run folder.{did_you_mean(path.name, beside=known)}")
    inside = sorted(p.parent for p in path.glob(f"run_*/{PREDICTIONS}"))
    if len(inside) == 1:
        return inside[0]
    if not inside:
        raise EvaluationError(
            f"{path}: no {PREDICTIONS} here or in a run_* folder inside; "
            "expected the output_dir of `hsd evaluate`."
        )
    names = ", ".join(p.name for p in inside)
    raise EvaluationError(f"{path} holds {len(inside)} evaluations; name one of {names}.")


def find_runs(path: Path) -> list[Path]:
    """Return the folders of a model's evaluations at `path`, one for each set.

    `path` itself, the run_* inside it, and those in the folders of its sets. Raises EvaluationError
    where there is none, and for several on one set.
    """
    if (path / PREDICTIONS).is_file() or not path.is_dir():
        return [find_evaluation(path)]
    inside = {run.parent: None for run in sorted(path.glob(f"run_*/{PREDICTIONS}"))}
    below = [run.parent for run in sorted(path.glob(f"*/run_*/{PREDICTIONS}"))]
    found = [*inside, *(run for run in below if _is_of_set(run))]
    if not found:
        return [find_evaluation(path)]  # raises
    if len({data_file_of(run) for run in found}) < len(found):
        names = ", ".join(str(run.relative_to(path)) for run in found)
        raise EvaluationError(f"{path} holds {len(found)} evaluations; name one of {names}.")
    return found


def data_file_of(folder: Path) -> str | None:
    """Return the name of the set that an evaluation's folder is of; None where it does not say."""
    named = (manifest_of(folder).get("data") or {}).get("data_file")
    return named or (identity_of(folder) or {}).get("data_file")


def _is_of_set(run: Path) -> bool:
    """Whether it lies in the folder of its set, as one of several does; `base` is none."""
    of = data_file_of(run)
    return of is not None and run.parent.name == set_name(of)


def _row(line: bytes, where: str) -> Prediction:
    try:
        row = ROW.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "row"
        raise EvaluationError(f"{where}: not a prediction: {place}: {first['msg']}.") from None
    if (row.label is None) == (row.outcome in READABLE):
        raise EvaluationError(
            f"{where}: outcome '{row.outcome}' with label {row.label!r}; "
            "a reply has a label when it is valid or repaired, and only then."
        )
    for name in ("score", "hate_share"):
        share = getattr(row, name)
        if share is not None and not 0 <= share <= 1:
            raise EvaluationError(f"{where}: {name} {share:g}; expected a number from 0 to 1.")
    return row
