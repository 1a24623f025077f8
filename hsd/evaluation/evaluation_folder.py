"""The folder of one evaluation: found again, made, and finished; and what memory did meanwhile."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.evaluation.shard_files import suffix
from hsd.evaluation.shards import merged_shards
from hsd.inference.halving import Halving
from hsd.io.files import write_json
from hsd.io.hashes import sha256_json
from hsd.io.json_reader import read_json
from hsd.io.manifest import DONE, manifest_of, update_manifest
from hsd.io.run_identity import as_known, differences, identity_of, require_own
from hsd.io.shard import Shard
from hsd.metrics.score_noise import Noise, noise
from hsd.model.number_format import FIELDS, as_asked, how_to_keep, recorded_format
from hsd.prediction import Prediction
from hsd.report.context import ReportContext
from hsd.report.finish_evaluation import finish_evaluation

Facts = dict[str, Any]


def existing_folder(plan: EvaluationPlan) -> Path | None:
    """Return the folder that this very evaluation began before, None when it did not.

    Raises PreflightError when `output_dir` is itself the folder of another evaluation.
    """
    output_dir, identity = plan.config.output_dir, plan.identity()
    if (identity_of(output_dir) or {}).get("kind") in ("evaluate", "import"):
        known, wanted = _both(output_dir, plan, identity)
        require_own(output_dir, wanted, known, {"number_format": how_to_keep})
        return output_dir
    for folder in sorted(output_dir.glob("run_*"), reverse=True):
        if identity_of(folder) is not None and not differences(*_both(folder, plan, identity)):
            return folder
    return None


def existing_otherwise(plan: EvaluationPlan) -> str | None:
    """Return a sentence about answers of this evaluation that were had in other numbers.

    They stay where they are: two number formats in one table would be no model's.
    """
    identity = plan.identity()
    for folder in sorted(plan.config.output_dir.glob("run_*"), reverse=True):
        if identity_of(folder) is None:
            continue
        known, wanted = _both(folder, plan, identity)
        lines = differences(known, wanted)
        if lines and all(line.startswith("number_format.") for line in lines):
            return (
                f"{folder} has answers in another number format ({'; '.join(lines)}) and is left "
                "as it is; all rows are answered anew, in a folder of their own."
            )
    return None


def _both(folder: Path, plan: EvaluationPlan, identity: Facts) -> tuple[Facts, Facts]:
    """Return the identity of a folder's evaluation and the one that is wanted, to be compared.

    `identity` is the wanted one, worked out once: it has a digest of all rows. Of the number format
    what it became counts, not what was asked for; earlier versions have it in their manifest alone.
    A finished evaluation is the same wherever it was computed.
    """
    known = identity_of(folder) or {}
    wanted = as_known(known, identity)
    began = known.get("number_format") or recorded_format(manifest_of(folder).get("model") or {})
    numbers = {**plan.numbers, **began}
    if (folder / DONE).exists():
        wanted["number_format"] = as_asked(plan.subject.config, numbers)
    return resolved(known) | {"number_format": numbers}, resolved(wanted)


def resolved(identity: Facts) -> Facts:
    """Return an identity without what its number format was asked to be."""
    model = identity.get("model") or {}
    return {**identity, "model": {k: v for k, v in model.items() if k not in FIELDS}}


def key_of(identity: Facts) -> str:
    """Return a name for the evaluation of an identity, the same however its format is asked for."""
    return sha256_json(resolved(identity))[:12]


def finish(folder: Path, ids: Sequence[str], beside: ReportContext) -> None:
    """Merge all ranks' predictions, in the order of `ids`, and write the reports."""
    predictions = merged_shards(folder, ids)
    beside = replace(beside, noise=_record_noise(folder, predictions))
    finish_evaluation(folder, predictions, beside)


def _record_noise(folder: Path, predictions: Sequence[Prediction]) -> Noise | None:
    """Hold the posts that were scored alone against their predictions; keep that in the manifest.

    None where labels were not scored, or no post had others beside it.
    """
    manifest = manifest_of(folder)
    answering = manifest.get("answering") or {}
    alone = answering.get("scored_alone")
    found = noise(alone, predictions, manifest["model"]["dtype"]) if alone else None
    if found:
        update_manifest(folder, answering={**answering, "noise": asdict(found)})
    return found


def note_halving(folder: Path, rank: int, halving: Halving, shard: Shard = Shard()) -> None:  # noqa: B008 - frozen
    """Keep on disk that one rank's memory ran out; each rank has a file of its own."""
    file = folder / f"halvings.rank{rank}{suffix(shard)}.json"
    known = read_json(file) if file.exists() else []
    write_json(file, [*known, {"rank": rank, **asdict(halving)}])


def record_halvings(folder: Path) -> None:
    """Write what `note_halving` kept, of all ranks and starts, into the manifest."""
    files = sorted(folder.glob("halvings.rank*.json"))
    if found := [halving for file in files for halving in read_json(file)]:
        update_manifest(folder, halvings=found)
