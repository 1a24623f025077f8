"""The posts that an adapter learned from, read again, so that a baseline can learn from the same.

Those of the adapter that it went on from count too. Only where the runs' folders know them for
certain: a file that changed since is another file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.config.train_config import TrainConfig
from hsd.data.data_files import digest, is_one_table
from hsd.data.data_sets import resolve
from hsd.errors import HsdError, PreflightError
from hsd.io.manifest import MANIFEST, manifest_of
from hsd.metrics.baselines import Training
from hsd.model.adapter_folder import adapter_digest
from hsd.prompts.contract import load_contract
from hsd.report.comparability import is_imported
from hsd.report.context import NOT_TRAINED_HERE
from hsd.training.dataset import learned_posts


def training_posts(adapter: Path | None) -> tuple[Training | None, str]:
    """Return an adapter's training posts, or None and why they are not known."""
    if adapter is None:
        return None, "the model is no adapter with a training run of its own"
    if not adapter.is_dir():
        return None, f"{adapter} is no folder here; run this where the evaluation ran"
    try:
        source, before = require_known_sources(adapter)
        if not source:
            return None, f"{adapter} does not say what it was trained on"
        own, note = _read(adapter, source)
        if own is None or not before:
            return own, note
        first, note = _learned_before(before)
    except HsdError as error:
        return None, str(error).rstrip(".")
    return (_joined(first, own), "") if first else (None, note)


def training_posts_of_run(
    manifest: Mapping[str, Any], named: str | None = None
) -> tuple[Training | None, str]:
    """Return the same for the adapter that an evaluation's manifest names.

    The posts of a file that a person `named` count instead; raises DataError as `resolve`.
    """
    if named:
        rows = resolve(named)
        texts, labels = [row.text for row in rows], [row.label for row in rows]
        return Training(texts, labels, f"{named} (as named)"), ""
    if is_imported(manifest):
        return None, NOT_TRAINED_HERE
    named = (manifest.get("model") or {}).get("adapter")
    return training_posts(Path(named) if named else None)


def require_known_sources(
    adapter: Path,
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return which file and which adapter a manifest says that an adapter learned from.

    Raises PreflightError where that cannot be read.
    """
    manifest = manifest_of(adapter)
    for name, key in {"learned_from": "file", "init_from": "folder"}.items():
        found = manifest.get(name) or {key: ""}
        said = found if isinstance(found, dict) else {}  # a text is a baseline's
        if not isinstance(said.get(key), str) or not isinstance(said.get("sha256"), str | None):
            raise PreflightError(
                f"{adapter / MANIFEST}: {name}: expected a {key} and its sha256, found "
                f"{json.dumps(found)[:100]}."
            )
    return manifest.get("learned_from"), manifest.get("init_from")


def _learned_before(before: Mapping[str, Any]) -> tuple[Training | None, str]:
    folder = Path(before["folder"])
    if folder.is_dir() and _weights_of(folder) != before.get("sha256"):
        return None, f"{folder}, which it went on from, has changed since"
    return training_posts(folder)


def _weights_of(folder: Path) -> str | None:
    """Return the digest of an adapter's weights; None of damaged ones."""
    try:
        return adapter_digest(folder)
    except HsdError:
        return None


def _joined(first: Training, then: Training) -> Training:
    """Return both runs' posts, each once; where labels differ, the later one was learned last."""
    labels = dict(zip(first.texts, first.labels, strict=True))
    labels |= dict(zip(then.texts, then.labels, strict=True))
    return Training(list(labels), list(labels.values()), f"{first.origin}, then {then.origin}")


def _read(adapter: Path, source: Mapping[str, Any]) -> tuple[Training | None, str]:
    file = source["file"]
    if source.get("sha256") and not is_one_table(Path(file)):
        return None, f"its training file {file} is no longer there"
    if source.get("sha256") and digest(Path(file)) != source["sha256"]:
        return None, f"its training file {file} has changed since"
    contract = load_contract(adapter)
    try:
        config = TrainConfig.model_validate_json((adapter / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None, f"{adapter}/config.json cannot be read"
    if contract is None:
        return None, f"{adapter} has no prompt.json"
    data = config.data.model_copy(update={"train_file": file})
    posts = list(learned_posts(config.model_copy(update={"data": data}), contract))
    if not posts:
        return None, f"no post can be told from its prompt in {file}"
    texts, labels = zip(*posts, strict=True)
    return Training(texts, labels, f"{Path(file).name}, {len(posts)} posts"), ""
