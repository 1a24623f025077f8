"""An evaluation's reports written again, from its predictions and what was decided since.

The run's folder holds it all: predictions.jsonl, operating_point.json (a frozen threshold),
gate.json (a verdict), and in the manifest the base that it stands beside.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hsd.data.score_scales import own_scale
from hsd.errors import EvaluationError
from hsd.io.files import write_atomic, write_json
from hsd.io.json_reader import read_object
from hsd.io.manifest import update_manifest
from hsd.metrics.baselines import Training
from hsd.metrics.operating_point import (
    OperatingPoint,
    operating_point,
    require_apart,
    require_unlearned,
    rows_digest,
)
from hsd.metrics.thresholds import PREVALENCES, Choice, Rule, apply_threshold
from hsd.prediction import Prediction
from hsd.report.baseline_runs import baselines_of
from hsd.report.comparability import (
    are_ranks,
    asked_of,
    is_imported,
    mismatches,
    provenance_of,
    require_comparable,
    shown_settings,
)
from hsd.report.context import ReportContext
from hsd.report.evaluation_files import write_evaluation
from hsd.report.evaluation_page import evaluation_page
from hsd.report.gate_file import read_verdict
from hsd.report.noise_sentences import noise_of
from hsd.report.predictions import Run, find_evaluation, load_run
from hsd.report.regrouping import REPORTED, grouped_as, reported_groups
from hsd.report.same_model import require_base, require_same_model

POINT = "operating_point.json"
QUOTING = "report_with_text.html"


def rewrite(
    run: Run,
    training: Training | None,
    note: str,
    base: Path | None = None,
    *,
    quote: bool = False,
    ignore_mode_mismatch: bool = False,
    prevalences: tuple[float, ...] = (),
) -> Path:
    """Write every report of a run again and return the page; `quote` writes a local copy too.

    `base` names the base's run, which is kept, as are `prevalences` (shares of hate to say
    precision at); without them those that were kept before stand.

    Raises EvaluationError when the base or the run was imported, when the base was not evaluated
    on the same posts or, unless `ignore_mode_mismatch`, was read in another way than the run, and
    when the run's threshold was chosen on its own posts.
    """
    if base:
        require_base(run, base)
    if base and not ignore_mode_mismatch:
        require_comparable(
            {str(base): asked_of(find_evaluation(base)), str(run.folder): asked_of(run.folder)}
        )
    beside = ReportContext(
        training,
        note,
        point=_point(run),
        verdict=read_verdict(run.folder),
        noise=noise_of(run.manifest),
        prevalences=prevalences or tuple(run.manifest.get("prevalences") or PREVALENCES),
        baselines=baselines_of(run),
        groups=run.groups,
        imported=is_imported(run.manifest),
        ranks=are_ranks(run.manifest),
        **_base(run, base),
    )
    shown, stamp = provenance_of(run.folder), run.folder.name.removeprefix("run_")
    report = write_evaluation(run.folder, run.predictions, shown, stamp, beside)
    if base:
        update_manifest(run.folder, base_run=str(base.absolute()))
    if run.groups.digest != reported_groups(run.manifest).digest:
        update_manifest(run.folder, **{REPORTED: run.groups.record()})
    if prevalences:
        update_manifest(run.folder, prevalences=list(prevalences))
    if quote:
        page = evaluation_page(report, run.predictions, with_text=True)
        write_atomic(run.folder / QUOTING, page, posts=True)
    return run.folder / (QUOTING if quote else "report.html")


def freeze(
    validation: Run, run: Run, rule: Rule, training: Training | None = None
) -> OperatingPoint:
    """Choose a threshold on the validation run, and write it into the folder of `run`.

    `training` is what the evaluated adapter learned from, where that is known.

    Raises EvaluationError when the runs are of different models or prompts, when they share a
    post, when a validation post was learned or says that it is of another split, and when the run
    has another threshold already: a frozen one is not chosen again.
    """
    if validation.folder.samefile(run.folder):
        raise EvaluationError(
            f"{run.folder}: both runs are the same; choose the threshold on an evaluation of other "
            "posts, such as those for validation."
        )
    require_same_model(validation, run)
    _require_to_choose_on(validation)
    require_apart(validation.predictions, run.predictions)
    if training:
        require_unlearned(validation.predictions, training)
    ranks = are_ranks(validation.manifest)
    point = operating_point(validation.predictions, rule, str(validation.folder), ranks=ranks)
    before = read_point(run.folder)
    if before is not None and replace(before, own_scale=None) != point:
        raise EvaluationError(
            f"{run.folder / POINT}: a threshold of {before.threshold:.4f} by {before.rule} is "
            "frozen in this run; it is not chosen again after its posts were evaluated."
        )
    point = replace(point, own_scale=_own_scale(validation, point.threshold))
    said = asdict(point)
    if point.own_scale is None:
        del said["own_scale"]
    write_json(run.folder / POINT, said)
    return point


def _own_scale(validation: Run, threshold: float) -> str | None:
    """Return an imported run's threshold in the scale of its file."""
    if not is_imported(validation.manifest):
        return None
    scores = [p.score for p in validation.predictions if p.score is not None]
    return own_scale(threshold, scores, validation.manifest.get("config") or {})


def read_point(folder: Path) -> OperatingPoint | None:
    """Return the run's frozen threshold, None when it has none."""
    file = folder / POINT
    if not file.exists():
        return None
    content = read_object(file)
    return OperatingPoint(**{**content, "choice": Choice(**content["choice"])})


def at_threshold(run: Run) -> tuple[str, list[Prediction]]:
    """Return a run's name and its posts as its frozen threshold calls them.

    Raises EvaluationError where none was frozen.
    """
    point = _point(run)
    if point is None:
        raise EvaluationError(
            f"{run.folder}: no threshold is frozen here; `hsd threshold VALIDATION_RUN RUN` "
            "chooses one."
        )
    rows = apply_threshold(run.predictions, point.threshold)
    return f"{run.folder} at its threshold {point.threshold:.4f}", rows


def named_reference(
    run: Run, reference: Path | None, ignore_mode_mismatch: bool, frozen: bool = False
) -> tuple[str | None, list[Prediction] | None]:
    """Return a gate's reference: its name, with what was read otherwise in it, and its rows.

    With `frozen` they are called by the reference's own frozen threshold, where it has one. Raises
    EvaluationError when it was read otherwise, unless `ignore_mode_mismatch`.
    """
    if reference is None:
        return None, None
    found = load_run(reference)
    asked = {str(reference): asked_of(found.folder), str(run.folder): asked_of(run.folder)}
    if not ignore_mode_mismatch:
        require_comparable(asked)
    unlike = "; ".join(mismatches(*asked.values()))
    name, rows = str(reference), found.predictions
    if frozen and read_point(found.folder):
        name, rows = at_threshold(found)
    rows = grouped_as(rows, run.predictions)
    return f"{name} (read differently: {unlike})" if unlike else name, rows


def _point(run: Run) -> OperatingPoint | None:
    """Return the run's point, once it is certain that it was not chosen on the run's own posts."""
    point = read_point(run.folder)
    if point is not None and point.rows_sha256 == rows_digest(run.predictions):
        raise EvaluationError(
            f"{run.folder / POINT}: this threshold was chosen on this run's own posts and cannot "
            "be evaluated on them; remove the file."
        )
    return point


def _base(run: Run, base: Path | None) -> dict[str, Any]:
    known = run.manifest.get("base_run")
    path = base or (Path(known) if known and Path(known).exists() else None)
    if path is None:
        return {}
    found = load_run(path)
    rows = grouped_as(found.predictions, run.predictions)
    return {"base": (shown_settings(path), rows), "base_asked": asked_of(found.folder)}


def _require_to_choose_on(validation: Run) -> None:
    """A threshold that was chosen on test posts is no result; rows without a split may serve."""
    splits: dict[str, int] = validation.manifest.get("data", {}).get("splits", {})
    others = {name: count for name, count in splits.items() if name != "validation"}
    if others:
        said = ", ".join(f"{count} {name}" for name, count in others.items())
        raise EvaluationError(
            f"{validation.folder}: of its {len(validation.predictions)} posts some are of another "
            f"split ({said}), and a threshold is chosen on validation posts; evaluate those, such "
            "as unified/val.jsonl of `hsd prepare`."
        )
