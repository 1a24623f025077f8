"""The posts that an adapter learned from, read again, so that a baseline can learn from the same.

Only where the run's folder knows them for certain: a file that changed since is another file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hsd.config.train import TrainConfig
from hsd.data.files import digest, is_one_table
from hsd.errors import HsdError
from hsd.metrics.baselines import Training
from hsd.prompts.contract import load_contract
from hsd.runs import MANIFEST, read_json
from hsd.training.rows import learned_posts


def learned(adapter: Path | None) -> tuple[Training | None, str]:
    """Return an adapter's training posts, or None and why they are not known."""
    if adapter is None:
        return None, "the model is no adapter with a training run of its own"
    if not adapter.is_dir():
        return None, f"{adapter} is no folder here; run this where the evaluation ran"
    manifest = adapter / MANIFEST
    source = read_json(manifest).get("learned_from") if manifest.is_file() else None
    if not source:
        return None, f"{adapter} does not say what it was trained on"
    try:
        return _read(adapter, source)
    except HsdError as error:
        return None, str(error).rstrip(".")


def learned_by_run(manifest: Mapping[str, Any]) -> tuple[Training | None, str]:
    """Return the same for the adapter that an evaluation's manifest names."""
    named = (manifest.get("model") or {}).get("adapter")
    return learned(Path(named) if named else None)


def _read(adapter: Path, source: Mapping[str, Any]) -> tuple[Training | None, str]:
    file = source["file"]
    if source["sha256"] and not is_one_table(Path(file)):
        return None, f"its training file {file} is no longer there"
    if source["sha256"] and digest(Path(file)) != source["sha256"]:
        return None, f"its training file {file} has changed since"
    contract = load_contract(adapter)
    try:
        config = TrainConfig.model_validate_json((adapter / "config.json").read_text("utf-8"))
    except (OSError, ValidationError):
        return None, f"{adapter}/config.json cannot be read"
    if contract is None:
        return None, f"{adapter} has no prompt.json"
    data = config.data.model_copy(update={"train_file": file})
    posts = list(learned_posts(config.model_copy(update={"data": data}), contract))
    if not posts:
        return None, f"no post can be told from its prompt in {file}"
    texts, labels = zip(*posts, strict=True)
    return Training(texts, labels, f"{Path(file).name}, {len(posts)} posts"), ""
