"""The adapter that a run goes on from: what it must have in common, and what it has learned."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd.config.train_config import LoraConfig, TrainConfig
from hsd.errors import DataError, PreflightError
from hsd.io.files import require_folder
from hsd.io.json_reader import read_object
from hsd.model.adapter_folder import CONFIG, adapter_digest, is_adapter, unlike_scales
from hsd.prompts.contract import Contract, load_contract, mismatch
from hsd.prompts.render import Encoded
from hsd.training.training_posts import training_posts


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An adapter to go on from. `note` says why its training posts are not known, or is empty."""

    folder: Path
    sha256: str
    posts: int
    note: str

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says of it; the posts are read again from its own folder."""
        return {
            "folder": str(self.folder.absolute()),
            "sha256": self.sha256,
            "posts": self.posts,
            "note": self.note,
        }


def find_ancestor(
    config: TrainConfig, contract: Contract, validation: Iterable[Encoded]
) -> Ancestor | None:
    """Return the adapter that `training.init_from` names; None where it names none.

    Raises PreflightError when it is none that this run can go on from, and DataError when it has
    learned a validation post.
    """
    folder = config.training.init_from
    if folder is None:
        return None
    require_folder(folder, "training.init_from")
    if not is_adapter(folder):
        raise PreflightError(
            f"training.init_from: {folder} holds no adapter ({CONFIG} is missing)."
        )
    _require_same_settings(folder, config.lora)
    _require_same_prompt(folder, contract)
    training, note = training_posts(folder)
    texts = set(training.texts) if training else set()
    for row in validation:
        if row.post in texts:
            raise DataError(
                f"validation row {row.id} has the same post as one that {folder} has learned; "
                "a validation loss on it would say nothing. Take it out, or start anew."
            )
    return Ancestor(folder, adapter_digest(folder), len(texts), note)


def _require_same_settings(folder: Path, lora: LoraConfig) -> None:
    """Compare what decides the weights' shapes and scale."""
    saved = read_object(folder / CONFIG)
    numbers = {"rank": (saved.get("r"), lora.rank), "alpha": (saved.get("lora_alpha"), lora.alpha)}
    unlike = [
        f"{name} is {there} there and {here} here"
        for name, (there, here) in numbers.items()
        if there != here
    ]
    unlike += unlike_scales(saved, lora.model_dump())
    # peft writes what `all-linear` and the like stand for; the weights' names settle that.
    names, targets = lora.target_modules, saved.get("target_modules") or ()
    if not isinstance(names, str) and set(targets) != set(names):
        unlike.append(f"target_modules are {', '.join(sorted(targets))} there")
    if unlike:
        raise PreflightError(
            f"training.init_from: {folder} was made with other LoRA settings: {'; '.join(unlike)}. "
            "Give the run the same ones."
        )


def _require_same_prompt(folder: Path, contract: Contract) -> None:
    trained = load_contract(folder)
    if trained is None:
        raise PreflightError(
            f"training.init_from: {folder} has no prompt.json, so nobody knows how it was asked."
        )
    if lines := mismatch(trained, contract):
        raise PreflightError(
            f"training.init_from: {folder} was trained with another prompt ({lines[0][:120]}). "
            "Set prompt.template and prompt.strategy to its own, or keep its prompt.json beside "
            "the rows."
        )
