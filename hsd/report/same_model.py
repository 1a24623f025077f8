"""Which runs may stand beside each other: one model's for a threshold, a base's for its adapter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsd.errors import EvaluationError
from hsd.io.json_reader import read_object
from hsd.io.manifest import manifest_of
from hsd.io.run_identity import IDENTITY, MODEL_FILES, differences
from hsd.report.comparability import PLACED, is_imported, model_as_read
from hsd.report.predictions import Run, find_evaluation

_MAY_LACK = ("number_format", "max_length", MODEL_FILES)
"""Parts of an identity that runs of an older hsd lack."""


def require_same_model(validation: Run, run: Run) -> None:
    """Raise EvaluationError for a threshold of other weights, or of the same read in another way.

    The same weights read in another way have other scores.
    """
    files = [folder / IDENTITY for folder in (validation.folder, run.folder)]
    if not all(file.exists() for file in files):
        raise EvaluationError(
            f"{validation.folder} and {run.folder}: a threshold needs both runs' {IDENTITY}, to "
            "know that one model with one prompt answered both."
        )
    _require_same_detector(validation, run)
    identities = [read_object(file) for file in files]
    if any(identity.get(PLACED) for identity in identities):
        raise EvaluationError(
            f"{validation.folder} and {run.folder}: the scores are places among the scores of one "
            "file, and a threshold of one says nothing of another. Import ranks with a --cut that "
            "is near the scores."
        )
    before, after = _as_read(identities)
    if lines := differences(before, after):
        raise EvaluationError(f"the two runs are of different models: {'; '.join(lines)}.")


def _as_read(identities: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what decides the scores of each run; what one of them does not say is unknown."""
    known = [key for key in _MAY_LACK if all(identity.get(key) for identity in identities)]
    read = model_as_read if "number_format" in known else _as_asked
    keys = ("prompt_hash", "mode", *(key for key in known if key != "number_format"))
    return [{"model": read(one), **{key: one.get(key) for key in keys}} for one in identities]


def _as_asked(identity: dict[str, Any]) -> Any:
    return identity.get("model")


def _require_same_detector(validation: Run, run: Run) -> None:
    chosen, judged = _detector(validation.manifest), _detector(run.manifest)
    if chosen == judged:
        return
    both = zip((validation.folder, run.folder), (chosen, judged), strict=True)
    said = " and ".join(
        f"{folder} is of {f'the imported detector {name}' if name else 'a model that hsd asked'}"
        for folder, name in both
    )
    raise EvaluationError(
        f"{said}: a threshold is for the detector that it was chosen on. Name two runs of one "
        "detector; imports of one detector have the same --name."
    )


def _detector(manifest: dict[str, Any]) -> str | None:
    return str(manifest.get("detector")) if is_imported(manifest) else None


def require_base(run: Run, base: Path) -> None:
    """Raise EvaluationError where one of the runs was imported: only a model of hsd has a base."""
    beside = (
        f"`hsd compare {base} {run.folder}` and `hsd gate {run.folder} --reference {base}` compare "
        "the two runs"
    )
    if is_imported(run.manifest):
        raise EvaluationError(f"{run.folder} is imported, and has no base; {beside}.")
    if is_imported(manifest_of(find_evaluation(base))):
        raise EvaluationError(
            f"{base} is imported, and a base is the original model of {run.folder}, evaluated by "
            f"hsd; {beside}."
        )
