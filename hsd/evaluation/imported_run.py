"""Predictions of another program as an evaluation run: the same files, and no model behind them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hsd.config.import_config import ImportConfig
from hsd.config.run_record import recorded
from hsd.data.data_files import digest, stem
from hsd.data.data_sets import load_named, require_own_file
from hsd.data.given_predictions import GivenPredictions, read_predictions_of
from hsd.data.imported_scores import Called, called, contradictions, require_possible
from hsd.data.loaded_file import left_out_said
from hsd.data.match_predictions import Matched, first, match
from hsd.data.rows_identity import data_facts, rows_identity
from hsd.data.sampling import sampled
from hsd.data.table_columns import columns_in
from hsd.errors import DataError
from hsd.example import Example
from hsd.groups.group_set import DEFAULT, GroupSet, load_groups
from hsd.groups.name_lists import unknown_said
from hsd.io.dated_folder import new_folder, stamp
from hsd.io.files import write_json, write_jsonl
from hsd.io.lease import hold_lease
from hsd.io.manifest import DONE
from hsd.io.run_identity import claim, differences, identity_of, require_own
from hsd.prediction import Prediction, prediction_of
from hsd.report.comparability import IMPORTED, provenance_of
from hsd.report.context import ReportContext
from hsd.report.evaluation_files import write_evaluation
from hsd.report.predictions import PREDICTIONS, done_evaluation

STRATEGY = "imported"
"""What stands where an evaluation by hsd names the strategy of its prompt."""
SUSPICIOUS = 20
"""Posts of which no detector calls every one as its annotators do."""
_WORK = "hsd import"


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished import. `skipped` says it was finished before."""

    folder: Path
    notes: list[str]
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import knows before it writes anything."""

    config: ImportConfig
    detector: str
    examples: list[Example]
    groups: GroupSet
    given: GivenPredictions
    predictions: list[Prediction]
    source_sha256: str
    notes: list[str]

    def identity(self) -> dict[str, Any]:
        """Return what makes two imports the same one.

        `model` is what has to be alike for a threshold to be another run's, and for two runs to be
        of one detector: not the file, which each data set has of its own.
        """
        config = self.config
        scale = {"scores": config.scores, "score_of": config.score_of, "cut": config.cut}
        return {
            "kind": "import",
            "model": {"detector": self.detector, **scale},
            "source_sha256": self.source_sha256,
            "columns": self.given.columns.named(),
            "labels": config.labels,
            "missing": config.missing,
            "unknown": config.unknown,
            **rows_identity(self.examples, config.data_file),
        }


def import_predictions(config: ImportConfig, data_dir: Path | None = None) -> Imported:
    """Write the evaluation run of another program's predictions, or find it finished.

    Raises ConfigError and DataError as `plan_import`; PreflightError where `output_dir` is the
    folder of another run; InUseError while another process writes this one.
    """
    since = time.monotonic()
    plan = plan_import(config, data_dir)
    identity = plan.identity()
    if (folder := existing_import(config.output_dir, identity)) and (folder / DONE).exists():
        return Imported(folder, plan.notes, skipped=True)
    with hold_lease(config.output_dir, _WORK):
        folder = existing_import(config.output_dir, identity) or new_folder(config.output_dir)
        claim(folder, identity)
        if not (folder / DONE).exists():  # by who had the lease a moment ago
            with recorded(folder, "import", config, gpus=0, since=since, **_facts(plan)):
                _write(folder, plan)
    return Imported(folder, plan.notes)


def plan_import(config: ImportConfig, data_dir: Path | None = None) -> ImportPlan:
    """Read and match everything; nothing is written.

    Raises DataError for predictions that are missing, doubled or of unknown posts, each with a
    count and the first ids, unless the config says what becomes of them.
    """
    require_possible(config)
    columns = columns_in(config.data)
    require_own_file([config.data_file], columns)
    groups = load_groups(config.groups or DEFAULT).with_intersections(config.intersections)
    loaded = load_named(config.data_file, data_dir, groups=groups, columns=columns)
    examples = sampled(loaded.examples, config)
    given = read_predictions_of(config)
    place = config.predictions
    matched = match(examples, given.rows, place, named=config.id_column is not None)
    labelled = given.columns.labels is not None
    calls = called(list(matched.given.values()), config, labelled=labelled)
    by_id = dict(zip(matched.given, calls, strict=True))
    absent = [e.id for e in examples if not _is_answered(by_id.get(e.id))]
    _require_whole(matched, absent, config)
    predictions = [_prediction(example, by_id.get(example.id)) for example in examples]
    _require_predicted(predictions, given, config)
    notes = [
        _read_said(given, matched, config),
        *loaded.notes,
        *left_out_said(loaded, config.data_file),
        *unknown_said(example.unknown_groups for example in examples),
        *matched.notes,
        *_unmatched_said(matched, absent, examples),
        *(contradictions(calls, config) if labelled else []),
        *_scores_said(config),
    ]
    return ImportPlan(
        config,
        config.name or stem(Path(place)),
        examples,
        groups,
        given,
        predictions,
        digest(Path(place)),
        notes,
    )


def existing_import(output_dir: Path, identity: Mapping[str, Any]) -> Path | None:
    """Return the folder of this very import, None without one.

    Raises PreflightError when `output_dir` is itself the folder of another run.
    """
    if identity_of(output_dir) is not None:
        require_own(output_dir, identity)
        return output_dir
    for folder in sorted(output_dir.glob("run_*"), reverse=True):
        known = identity_of(folder)
        if known is not None and not differences(known, identity):
            return folder
    return None


def _is_answered(one: Called | None) -> bool:
    """Whether there is a prediction, if only a reply that cannot be read."""
    return one is not None and (one.label is not None or bool(one.given.reply))


def _prediction(example: Example, one: Called | None) -> Prediction:
    said = one if one is not None and _is_answered(one) else None
    is_read = said is not None and said.label is not None
    outcome = said.given.outcome if said and said.given.reply else "invalid"
    return prediction_of(
        example,
        strategy=STRATEGY,
        label=said.label if said else None,
        outcome=(outcome if outcome != "invalid" else "valid") if is_read else outcome,
        reply=said.given.reply if said else "",
        score=said.score if said else None,
        response_time=None,
        truncated_post=None,
    )


def _require_whole(matched: Matched, absent: Sequence[str], config: ImportConfig) -> None:
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


def _require_predicted(
    predictions: Sequence[Prediction], given: GivenPredictions, config: ImportConfig
) -> None:
    """Raise DataError where the column of predictions seems to be the true labels."""
    is_named = config.label_column is not None or given.columns.labels is None
    if not is_named and len(predictions) >= SUSPICIOUS and all(p.is_right for p in predictions):
        label = given.columns.named().get("label")
        raise DataError(
            f"{config.predictions}: '{label}' says of every post what its true label is. If it "
            "holds the detector's labels, name it with --label-column; otherwise name the right "
            "column."
        )


def _read_said(given: GivenPredictions, matched: Matched, config: ImportConfig) -> str:
    named = ", ".join(f"{kind} in '{name}'" for kind, name in given.columns.named().items())
    return f"{config.predictions}: read as {given.form}: {named}; matched by {matched.by}."


def _unmatched_said(
    matched: Matched, absent: Sequence[str], examples: Sequence[Example]
) -> list[str]:
    said = []
    if absent:
        said.append(
            f"{len(absent):,} of {len(examples):,} posts have no prediction ({first(absent)}); "
            "they count as unreadable replies, so as wrong."
        )
    if matched.unknown:
        said.append(
            f"{len(matched.unknown):,} predictions are for no post of the data and are ignored "
            f"({first(matched.unknown)})."
        )
    return said


def _scores_said(config: ImportConfig) -> list[str]:
    if config.cut is not None:
        return [f"A post is called hate from the score {config.cut:g} on, in the file's own scale."]
    return []


def _facts(plan: ImportPlan) -> dict[str, Any]:
    """Return what the manifest says beside the config: no model, since hsd asked none."""
    own_groups = {} if plan.groups.is_default else {"groups": plan.groups.record()}
    file = Path(plan.config.predictions).name
    return {
        "engine": IMPORTED,
        "detector": plan.detector,
        "source": {
            "file": file,
            "sha256": plan.source_sha256,
            "rows": len(plan.given.rows),
            "form": plan.given.form,
            "columns": plan.given.columns.named(),
            "scores": plan.config.scores,
        },
        "data": data_facts(plan.examples, plan.config.data_file),
        "notes": plan.notes,
        **own_groups,
    }


def _write(folder: Path, plan: ImportPlan) -> None:
    write_jsonl(folder / PREDICTIONS, map(asdict, plan.predictions), posts=True)
    context = ReportContext(groups=plan.groups, imported=True, ranks=plan.config.scores == "rank")
    shown = provenance_of(folder)
    report = write_evaluation(folder, plan.predictions, shown, stamp(folder), context)
    done = done_evaluation(folder, len(plan.predictions))
    write_json(folder / DONE, {**done, "headline": report.headline.model_dump(mode="json")})
