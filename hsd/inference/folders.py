"""The folder of one evaluation: found again, made, and finished; and what memory did meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hsd.inference.halving import Halving
from hsd.inference.shards import merged
from hsd.metrics.noise import Noise, noise
from hsd.metrics.prediction import Prediction
from hsd.report.asked import provenance_of
from hsd.report.beside import Beside
from hsd.report.predictions import PREDICTIONS
from hsd.report.tables import write_evaluation
from hsd.runs import (
    IDENTITY,
    MANIFEST,
    claim,
    differences,
    read_json,
    update_manifest,
    write_json,
    write_jsonl,
)

DONE = "done.json"


def begun(output_dir: Path, identity: Mapping[str, Any]) -> Path | None:
    """Return the folder that this very evaluation began before, None when it did not.

    Raises PreflightError when `output_dir` is itself the folder of another evaluation.
    """
    own = output_dir / IDENTITY
    if own.exists() and read_json(own).get("kind") == "evaluate":
        claim(output_dir, identity)
        return output_dir
    for folder in sorted(output_dir.glob("run_*"), reverse=True):
        file = folder / IDENTITY
        if file.exists() and not differences(read_json(file), dict(identity)):
            return folder
    return None


def new_folder(output_dir: Path) -> Path:
    """Return `run_YYYYMMDD_HHMMSS`, of the next second that no other evaluation has."""
    at = datetime.now()
    while (folder := output_dir / f"run_{at:%Y%m%d_%H%M%S}").exists():
        at += timedelta(seconds=1)
    return folder


def stamp(folder: Path) -> str:
    """Return the time in a run folder's name, which the names of its files end with."""
    return folder.name.removeprefix("run_")


def finish(folder: Path, ids: Sequence[str], beside: Beside) -> None:
    """Merge all ranks' predictions, in the order of `ids`, and write the reports."""
    predictions = merged(folder, ids)
    write_jsonl(folder / PREDICTIONS, map(asdict, predictions))
    beside = replace(beside, noise=_record_noise(folder, predictions))
    numbers = write_evaluation(folder, predictions, provenance_of(folder), stamp(folder), beside)
    write_json(folder / DONE, {"rows": len(predictions), "headline": numbers.get("headline")})


def _record_noise(folder: Path, predictions: Sequence[Prediction]) -> Noise | None:
    """Hold the posts that were scored alone against their predictions; keep that in the manifest.

    None where labels were not scored, or no post had others beside it.
    """
    manifest = read_json(folder / MANIFEST)
    answering = manifest.get("answering", {})
    alone = answering.get("scored_alone")
    found = noise(alone, predictions, manifest["model"]["dtype"]) if alone else None
    if found:
        update_manifest(folder, answering={**answering, "noise": asdict(found)})
    return found


def note_halving(folder: Path, rank: int, halving: Halving) -> None:
    """Keep on disk that one rank's memory ran out; each rank has a file of its own."""
    file = folder / f"halvings.rank{rank}.json"
    known = read_json(file) if file.exists() else []
    write_json(file, [*known, {"rank": rank, **asdict(halving)}])


def record_halvings(folder: Path) -> None:
    """Write what `note_halving` kept, of all ranks and starts, into the manifest."""
    files = sorted(folder.glob("halvings.rank*.json"))
    if found := [halving for file in files for halving in read_json(file)]:
        update_manifest(folder, halvings=found)
