"""What a run writes of itself into its manifest: each start, each end, and the GPU-hours."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.config.import_config import ImportConfig
from hsd.config.redaction import redacted, with_references
from hsd.config.train_config import TrainConfig
from hsd.errors import TakenOver
from hsd.io.files import write_json
from hsd.io.manifest import manifest_of, update_manifest
from hsd.io.provenance import now, provenance


@contextmanager
def recorded(
    folder: Path,
    kind: str,
    config: TrainConfig | EvalConfig | ImportConfig,
    *,
    gpus: int,
    since: float,
    resumed_from: str | None = None,
    **facts: Any,
) -> Iterator[None]:
    """Note that a process begins or goes on with a run, and after the block that it ended.

    `since` is when `gpus` GPUs were taken, in `time.monotonic()` seconds. A start that was killed
    keeps no end and no GPU-hours, nor one whose folder was taken over, since the last start is
    another's then. config.json holds the config as it is, with `${NAME}` for what a secret variable
    holds; the manifest hides what looks like a secret.
    """
    content = config.model_dump(mode="json")
    write_json(folder / "config.json", with_references(content))
    start = {"at": now(), "ended": None, "gpu_hours": None, "resumed_from": resumed_from}
    update_manifest(
        folder,
        kind=kind,
        config=redacted(content),
        seed=config.seed,
        **facts,
        starts=[*_starts(folder), redacted(start | provenance())],
    )
    with counting_gpu_hours(gpus, since, lambda hours: _record_end(folder, hours)):
        yield


@contextmanager
def counting_gpu_hours(gpus: int, since: float, note: Callable[[float], None]) -> Iterator[None]:
    """Give `note` the GPU-hours of a start, however the block ends; nothing after a take-over.

    `since` is when `gpus` GPUs were taken, in `time.monotonic()` seconds.
    """
    is_ours = True
    try:
        yield
    except TakenOver:
        is_ours = False
        raise
    finally:
        if is_ours:
            note(gpus * (time.monotonic() - since) / 3600)


def _record_end(folder: Path, gpu_hours: float) -> None:
    *before, last = _starts(folder)
    starts = [*before, last | {"ended": now(), "gpu_hours": gpu_hours}]
    known = sum(start["gpu_hours"] or 0.0 for start in starts)
    update_manifest(folder, starts=starts, gpu_hours=round(known, 4))


def _starts(folder: Path) -> list[dict[str, Any]]:
    return list(manifest_of(folder).get("starts") or [])
