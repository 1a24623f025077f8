"""What an import knows before it writes anything: each post with what was predicted for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.import_config import ImportConfig
from hsd.data.data_files import digest, stem
from hsd.data.data_sets import load_named, require_own_file
from hsd.data.given_predictions import GivenPredictions, read_predictions_of
from hsd.data.imported_scores import (
    Called,
    are_places,
    called,
    contradictions,
    require_possible,
)
from hsd.data.loaded_file import Loaded, left_out_said
from hsd.data.match_predictions import Matched, ids_of, match
from hsd.data.rows_identity import data_facts, rows_identity
from hsd.data.sampling import sampled
from hsd.data.table_columns import columns_in
from hsd.evaluation.import_checks import (
    read_said,
    require_predicted,
    require_whole,
    unmatched_said,
)
from hsd.evaluation.import_doubts import direction_doubts, scale_doubts
from hsd.example import Example
from hsd.groups.group_set import DEFAULT, GroupSet, load_groups
from hsd.groups.name_lists import unknown_said
from hsd.prediction import Outcome, Prediction, prediction_of
from hsd.report.comparability import IMPORTED, PLACED

STRATEGY = "imported"
"""What stands where an evaluation by hsd names the strategy of its prompt."""
PLACES_SAID = (
    "The ranks are too far from the cut to tell them apart in [0, 1]: each score became its place "
    "among the scores of the file, so no threshold is carried to or from another file."
)


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
    placed: bool = False
    """The scores are places among the scores of this file."""

    def identity(self) -> dict[str, Any]:
        """Return what makes two imports the same one.

        `model` is what has to be alike for a threshold to be another run's, and for two runs to be
        of one detector: not the file, which each data set has of its own.
        """
        config = self.config
        columns = self.given.columns.named()
        read = {name: columns.get(name) for name in ("label", "score")}
        read |= {"scores": config.scores, "score_of": config.score_of, "cut": config.cut}
        return {
            "kind": "import",
            "model": {"detector": self.detector, **read},
            "source_sha256": self.source_sha256,
            "columns": columns,
            "labels": config.labels,
            "missing": config.missing,
            "unknown": config.unknown,
            **({PLACED: True} if self.placed else {}),
            **rows_identity(self.examples, config.data_file),
        }

    def facts(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the manifest says beside the config: no model, since hsd asked none."""
        file = Path(self.config.predictions).name
        return {
            "engine": IMPORTED,
            "detector": self.detector,
            "source": {
                "file": file,
                "sha256": self.source_sha256,
                "rows": len(self.given.rows),
                "form": self.given.form,
                "columns": self.given.columns.named(),
                "scores": self.config.scores,
            },
            "data": data_facts(identity, self.examples),
            "notes": self.notes,
            **self.groups.facts(),
        }


def plan_import(config: ImportConfig, data_dir: Path | None = None) -> ImportPlan:
    """Read and match everything; nothing is written.

    Raises ConfigError and DataError: for predictions that are missing, doubled or of unknown posts
    with a count and the first ids, unless the config says what becomes of them.
    """
    require_possible(config)
    groups = load_groups(config.groups or DEFAULT).with_intersections(config.intersections)
    loaded = _posts(config, groups, data_dir)
    examples = sampled(loaded.examples, config)
    given = read_predictions_of(config, ids_of(examples))
    matched = match(
        examples,
        given.rows,
        config.predictions,
        named=config.id_column is not None,
        column=given.columns.id,
        beside=loaded.examples,
    )
    placed = are_places([*matched.given.values()], config)
    predictions, said = _answered(examples, given, matched, config)
    notes = [
        *loaded.notes,
        *left_out_said(loaded, config.data_file),
        *unknown_said(example.unknown_groups for example in examples),
    ]
    file = Path(config.predictions)
    name, sha256 = config.name or stem(file), digest(file)
    said += [PLACES_SAID] if placed else []
    return ImportPlan(
        config, name, examples, groups, given, predictions, sha256, [*said, *notes], placed
    )


def _posts(config: ImportConfig, groups: GroupSet, data_dir: Path | None) -> Loaded:
    columns = columns_in(config.data)
    require_own_file([config.data_file], columns)
    return load_named(config.data_file, data_dir, groups=groups, columns=columns)


def _answered(
    examples: Sequence[Example], given: GivenPredictions, matched: Matched, config: ImportConfig
) -> tuple[list[Prediction], list[str]]:
    """Return a prediction for every post, and what a person should know of them."""
    labelled = given.columns.labels is not None and config.cut is None
    calls = called(list(matched.given.values()), config, labelled=labelled)
    by_id = dict(zip(matched.given, calls, strict=True))
    absent = [e.id for e in examples if not _is_answered(by_id.get(e.id))]
    require_whole(matched, absent, config)
    predictions = [_prediction(example, by_id.get(example.id)) for example in examples]
    require_predicted(predictions, given, config)
    said = [
        read_said(given, matched, config),
        *matched.notes,
        *unmatched_said(matched, absent, predictions),
        *scale_doubts([c.given.score for c in calls if c.given.score is not None], config),
        *(contradictions(calls, config) if labelled else direction_doubts(predictions, config)),
    ]
    return predictions, said


def _is_answered(one: Called | None) -> bool:
    """Whether there is a prediction, if only a reply that cannot be read."""
    return one is not None and (one.label is not None or one.given.reply is not None)


def _prediction(example: Example, one: Called | None) -> Prediction:
    said = one if one is not None and _is_answered(one) else None
    is_read = said is not None and said.label is not None
    outcome: Outcome = said.given.outcome if said else "invalid"
    if is_read and outcome == "invalid":
        outcome = "valid"  # a label that was no reply
    return prediction_of(
        example,
        strategy=STRATEGY,
        label=said.label if said else None,
        outcome=outcome,
        reply=(said.given.reply or "") if said else "",
        score=said.score if said else None,
        response_time=None,
        truncated_post=None,
    )
