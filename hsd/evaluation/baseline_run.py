"""Baselines as evaluations of their own: on a run's posts, from a run's training posts.

They lie in the run's folder, `baselines/NAME`, and are read by whatever reads an evaluation: the
report puts them beside the run, and gate and compare take them as a reference.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from hsd.errors import EvaluationError, PreflightError
from hsd.evaluation.encoder_scores import encoder_scores
from hsd.example import LABELS
from hsd.io.files import write_json, write_jsonl
from hsd.io.lease import hold_lease
from hsd.io.manifest import DONE, manifest_of, update_manifest
from hsd.io.progress import Progress, silent
from hsd.io.provenance import now, provenance
from hsd.io.run_identity import claim, identity_of, require_own
from hsd.metrics.baselines import Training, called_by_score, tfidf
from hsd.metrics.operating_point import rows_digest
from hsd.metrics.seen_in_training import among
from hsd.prediction import Prediction
from hsd.report.baseline_runs import BASELINES
from hsd.report.predictions import PREDICTIONS, Run, done_evaluation
from hsd.training.sentence_encoder import (
    EncoderSettings,
    encoder_identity,
    training_digest,
)

Kind = Literal["tfidf", "encoder"]
MOST_SHARED = 0.5
"""Of the evaluated posts that a baseline may have learned; more is the evaluated set itself, not
posts that stand twice in a corpus."""


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
    EvaluationError without training posts of both labels, and where these are the evaluated posts;
    PreflightError where the folder holds a baseline of other posts, and InUseError while another
    process makes this one.
    """
    settings = encoder or EncoderSettings()
    if training is None:
        raise EvaluationError(
            f"{run.folder}: a baseline learns the run's training posts; {note}. If you have these "
            "posts, add --train-file FILE."
        )
    if set(training.labels) != set(LABELS):
        raise EvaluationError(f"{training.origin}: a baseline needs posts of both labels.")
    _require_held_out(run, training)
    folder = run.folder / BASELINES / _slug(kind, settings)
    identity = _identity(run, kind, training, settings)
    _require_same_training(folder, identity, training)
    require_own(folder, identity)
    if (folder / DONE).exists():
        return folder
    with hold_lease(folder, f"hsd report --baseline {kind}"):
        claim(folder, identity)
        if not (folder / DONE).exists():  # by who had the lease a moment ago
            _make(folder, run, kind, training, settings, progress)
    return folder


def _require_held_out(run: Run, training: Training) -> None:
    shared, n = among(run.predictions, training.texts), len(run.predictions)
    if len(shared) > MOST_SHARED * n:
        raise EvaluationError(
            f"{len(shared):,} of {n:,} evaluated posts are training posts ({training.origin}; "
            f"first: {', '.join(shared[:3])}); a baseline has to learn other posts than those that "
            "it is judged on. Name such posts with --train-file FILE, or evaluate on held-out ones."
        )


def _require_same_training(folder: Path, identity: Mapping[str, Any], training: Training) -> None:
    known = identity_of(folder) or identity
    if known.get("training_sha256") != identity["training_sha256"]:
        before = manifest_of(folder).get("learned_from")
        raise PreflightError(
            f"{folder}: this baseline was trained on other posts{f' ({before})' if before else ''} "
            f"than those of {training.origin}. To train it on these, remove {folder} first."
        )


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
    count = _counted_rows(run, training)
    if kind == "tfidf":
        rows = tfidf(run.predictions, training)
        return rows, f"TF-IDF + logistic regression ({count})", {}
    texts = [p.text for p in run.predictions]
    found = encoder_scores(training, texts, settings, progress)
    share = found.score_seconds / len(texts)
    called = called_by_score(run.predictions, found.scores)
    rows = [replace(row, response_time=share) for row in called]
    name = (
        f"{settings.name} fine-tuned whole ({found.parameters / 1e6:.0f}M parameters, {count}, "
        f"{found.train_seconds / 60:.0f} min on {found.device})"
    )
    return rows, name, found.cost()


def _counted_rows(run: Run, training: Training) -> str:
    rows, shared = f"{len(training.texts)} training rows", among(run.predictions, training.texts)
    if not shared:
        return rows
    return f"{rows}, {len(shared):,} of {len(run.predictions):,} evaluated posts among them"


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
