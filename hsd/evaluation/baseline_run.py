"""Baselines as evaluations of their own: on a run's posts, from a run's training posts.

They lie in the run's folder, `baselines/NAME`, and are read by whatever reads an evaluation: the
report puts them beside the run, and gate and compare take them as a reference.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from hsd.errors import EvaluationError
from hsd.evaluation.encoder_scores import encoder_scores
from hsd.example import LABELS
from hsd.io.files import write_json, write_jsonl
from hsd.io.lease import hold_lease
from hsd.io.manifest import DONE, update_manifest
from hsd.io.progress import Progress, silent
from hsd.io.provenance import now, provenance
from hsd.io.run_identity import claim, require_own
from hsd.metrics.baselines import Training, called_by_score, tfidf
from hsd.metrics.operating_point import rows_digest
from hsd.prediction import Prediction
from hsd.report.baseline_runs import BASELINES
from hsd.report.predictions import PREDICTIONS, Run, done_evaluation
from hsd.training.sentence_encoder import (
    EncoderSettings,
    encoder_identity,
    training_digest,
)

Kind = Literal["tfidf", "encoder"]


def baseline_run(
    run: Run,
    kind: Kind,
    training: Training | None,
    note: str,
    encoder: EncoderSettings | None = None,
    progress: Progress = silent,
) -> Path:
    """Return the folder of a baseline's evaluation on the run's posts, made where it is not there.

    `training` is what the run's adapter learned from; `note` says why that is not known. Raises
    EvaluationError without training posts of both labels; PreflightError where the folder holds a
    baseline of other posts, and InUseError while another process makes this one.
    """
    settings = encoder or EncoderSettings()
    if training is None:
        raise EvaluationError(
            f"{run.folder}: a baseline learns the run's training posts; {note}. If you have these "
            "posts, add --train-file FILE."
        )
    if set(training.labels) != set(LABELS):
        raise EvaluationError(f"{training.origin}: a baseline needs posts of both labels.")
    folder = run.folder / BASELINES / _slug(kind, settings)
    identity = _identity(run, kind, training, settings)
    require_own(folder, identity)
    if (folder / DONE).exists():
        return folder
    with hold_lease(folder, f"hsd report --baseline {kind}"):
        claim(folder, identity)
        if not (folder / DONE).exists():  # by who had the lease a moment ago
            _make(folder, run, kind, training, settings, progress)
    return folder


def _make(
    folder: Path,
    run: Run,
    kind: Kind,
    training: Training,
    settings: EncoderSettings,
    progress: Progress,
) -> None:
    started = now()
    rows, name, cost = _answered(run, kind, training, settings, progress)
    write_jsonl(folder / PREDICTIONS, map(asdict, rows), posts=True)
    update_manifest(
        folder,
        kind="baseline",
        model={"name": name},
        data=run.manifest.get("data"),
        learned_from=training.origin,
        cost=cost,
        starts=[{"at": started, "ended": now()} | provenance()],
    )
    write_json(folder / DONE, done_evaluation(folder, len(rows)))


def _answered(
    run: Run, kind: Kind, training: Training, settings: EncoderSettings, progress: Progress
) -> tuple[list[Prediction], str, Mapping[str, Any]]:
    count = len(training.texts)
    if kind == "tfidf":
        rows = tfidf(run.predictions, training)
        return rows, f"TF-IDF + logistic regression ({count} training rows)", {}
    texts = [p.text for p in run.predictions]
    found = encoder_scores(training, texts, settings, progress)
    share = found.score_seconds / len(texts)
    called = called_by_score(run.predictions, found.scores)
    rows = [replace(row, response_time=share) for row in called]
    name = (
        f"{settings.name} fine-tuned whole ({found.parameters / 1e6:.0f}M parameters, {count} "
        f"training rows, {found.train_seconds / 60:.0f} min on {found.device})"
    )
    return rows, name, found.cost()


def _identity(
    run: Run, kind: Kind, training: Training, settings: EncoderSettings
) -> dict[str, Any]:
    return {
        "kind": "baseline",
        "baseline": kind,
        "encoder": encoder_identity(settings) if kind == "encoder" else None,
        "training_sha256": training_digest(training),
        "rows_sha256": rows_digest(run.predictions),
    }


def _slug(kind: Kind, settings: EncoderSettings) -> str:
    if kind == "tfidf":
        return kind
    return f"encoder-{re.sub(r'[^a-zA-Z0-9.]+', '-', settings.name).strip('-')}"
