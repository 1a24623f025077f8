"""What a training run writes of itself into its manifest."""

from pathlib import Path
from typing import Any

from hsd.config.train import TrainConfig
from hsd.runs import MANIFEST, now, provenance, read_json, update_manifest, write_json


def record_start(config: TrainConfig, resumed_from: str | None, **facts: Any) -> None:
    """Note that this process begins or goes on with the run: when, where, from which checkpoint."""
    folder, content = config.output_dir, config.model_dump(mode="json")
    write_json(folder / "config.json", content)
    start = {"at": now(), "ended": None, "gpu_hours": None, "resumed_from": resumed_from}
    update_manifest(
        folder,
        kind="train",
        config=content,
        seed=config.seed,
        **facts,
        starts=[*_starts(folder), start | provenance()],
    )


def record_end(folder: Path, gpu_hours: float) -> None:
    """Note the end of the last start. One that was killed keeps no end, and no GPU-hours."""
    *before, last = _starts(folder)
    starts = [*before, last | {"ended": now(), "gpu_hours": gpu_hours}]
    known = sum(start["gpu_hours"] or 0.0 for start in starts)
    update_manifest(folder, starts=starts, gpu_hours=round(known, 4))


def _starts(folder: Path) -> list[dict[str, Any]]:
    manifest = folder / MANIFEST
    return list(read_json(manifest).get("starts", [])) if manifest.exists() else []
