"""What began in a run's folder, and whether the run of a config may go on with it here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd.config.redaction import with_references
from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError
from hsd.io.manifest import manifest_of
from hsd.io.run_identity import Remedies, claim, identity_of, require_own
from hsd.model.adapter_folder import recorded_base
from hsd.model.describe import has_other_files
from hsd.model.number_format import FIELDS, as_asked, began_in, how_to_keep
from hsd.training.planner_costs import PlannerCosts
from hsd.training.training_plan import TrainingPlan

Identity = dict[str, Any]


def require_same_run(plan: TrainingPlan) -> None:
    """Check that the config's folder is new, or that what began in it may go on here.

    Raises PreflightError as `require_own`. A run that goes on keeps its settings, its number
    format and its processes: the loss of one step would not be that of the next.
    """
    require_own(plan.config.output_dir, plan.identity(), _known(plan), _REMEDIES)
    _require_same_files(plan)


def require_same_finished_run(plan: TrainingPlan) -> None:
    """Check that a finished run is the config's own, wherever it was computed."""
    folder, here = plan.config.output_dir, plan.identity()
    known = _known(plan) or {}
    if "number_format" in known:
        here["number_format"] = as_asked(plan.config.model, known["number_format"])
        here["processes"] = known.get("processes")
    require_own(folder, here, known)
    _require_same_files(plan)


def _require_same_files(plan: TrainingPlan) -> None:
    """Refuse another base under the name of the one that the run began with."""
    folder, name = plan.config.output_dir, plan.source.name
    if has_other_files(plan.source, recorded_base(folder)):
        raise PreflightError(
            f"{folder}: the weight files of {name} have changed since this run began, so its "
            "adapter belongs to another base. Put the files back, or choose another output_dir to "
            "train anew."
        )


def claim_folder(plan: TrainingPlan) -> None:
    """Make the folder the home of the config's run, or check as `require_same_run`."""
    claim(plan.config.output_dir, plan.identity(), _known(plan), _REMEDIES)


def shared_before(folder: Path) -> bool | None:
    """Return whether the run that began in `folder` shared its prompts; None before it learned."""
    found: bool | None = (manifest_of(folder).get("prefix_sharing") or {}).get("shared")
    return found


def costs_before(folder: Path) -> PlannerCosts | None:
    """Return what the run that began in `folder` planned its pieces by; None before it learned.

    Earlier versions of hsd had the usual costs everywhere.
    """
    found = manifest_of(folder).get("prefix_sharing")
    if not found:
        return None
    names = ("call_tokens", "pair_slowness")
    return PlannerCosts(**{name: found[name] for name in names if name in found})


def behind_before(folder: Path) -> bool:
    """Return whether the run that began in `folder` may compute its pieces behind a shared prefix.

    Earlier versions of hsd could not where activations were computed again.
    """
    manifest = manifest_of(folder)
    sharing = manifest.get("prefix_sharing") or {}
    if not sharing or manifest.get("gradient_checkpointing"):
        return bool(sharing.get("behind", True))
    asked = manifest["config"]["training"].get("gradient_checkpointing", "auto")
    return not (recomputed_before(folder) if asked == "auto" else asked)


def recomputed_before(folder: Path) -> bool | None:
    """Return whether the run that began in `folder` computed activations again; None before it did.

    With `auto` earlier versions of hsd did on every GPU.
    """
    manifest = manifest_of(folder)
    if known := manifest.get("gradient_checkpointing"):
        return bool(known["on"])
    if not manifest.get("prefix_sharing"):
        return None
    return bool(manifest["base"]["placement"]["device"] != "cpu")


def _known(plan: TrainingPlan) -> Identity | None:
    """Return the identity of what began in the folder, whichever version of hsd began it.

    Earlier ones wrote down which number format was asked for; what it became is in the manifest,
    from the first step on. Before that nothing is lost by another one.
    """
    known = identity_of(plan.config.output_dir)
    if known is None or known.get("kind") != "train":
        return known
    settings = _with_later_settings(known["config"])
    for name in FIELDS:
        settings["model"].pop(name, None)
    began = began_in(plan.config.output_dir)
    held = {**plan.numbers, **began}
    return {**known, "config": with_references(settings), "number_format": held}


def _with_later_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings with those that came later, whose defaults change no older run."""
    later = TrainConfig().model_dump(mode="json", exclude={"output_dir", "description"})
    later["model"].pop("cache_dir")
    return {
        name: {**default, **(config.get(name) or {})}
        if isinstance(default, dict)
        else config.get(name, default)
        for name, default in later.items()
    }


def _as_many(known: Any, _: Any) -> str:
    if known == 1:
        return "start one process, without a launcher"
    return f"start {known} processes in all (on one machine: torchrun --nproc_per_node {known})"


_REMEDIES: Remedies = {"number_format": how_to_keep, "processes": _as_many}
